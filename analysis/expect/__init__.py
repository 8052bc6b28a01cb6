"""Expectations: pattern texts that a fetch's sequence is matched against."""
