"""The pytest plugin for teachers."""
