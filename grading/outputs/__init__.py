"""What is written of grades: each format in a file, with the escaping that it needs."""
