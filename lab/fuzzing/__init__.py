"""Damaged captures for the whole analysis: `invoke fuzz`."""
