"""How one submission is marked: bytes and an exercise in, a grade out; pure, as `analysis` is."""
