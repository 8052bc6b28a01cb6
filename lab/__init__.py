"""Makes traffic: scenarios, the hosts that play them, and the record of each run."""

__version__ = "0.1.0"
