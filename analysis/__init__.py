"""Reads traffic: bytes in, report out. No clock, no printing, no network, no import of ``lab``."""
