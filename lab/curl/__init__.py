"""The client's curl: its command line, and what of it touches files or asks for names."""
