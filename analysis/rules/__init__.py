"""The checks of a fetch, and what they find."""
