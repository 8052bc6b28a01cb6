"""Views of a report: the same values as terminal text, JSON, …"""
