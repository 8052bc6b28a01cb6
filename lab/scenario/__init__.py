"""The scenario: a TOML file, loaded and checked whole before anything starts."""
