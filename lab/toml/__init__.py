"""TOML files that people write: read, checked key by key, each complaint with its line."""
