"""What a teacher sets: the exercise as values, its file, what is individual in it, and what a student is given."""
