"""Facts of a report by their paths, for rubrics, questions and tests."""
