"""Exercises, rubrics and classes: what a teacher sets, what students hand in, the marks and what is said of them."""
