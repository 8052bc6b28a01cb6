"""DNS messages to lookups."""
