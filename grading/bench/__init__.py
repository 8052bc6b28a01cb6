"""How fast a class is marked."""
