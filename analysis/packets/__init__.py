"""Frames to packets: link, IP, UDP and TCP headers."""
