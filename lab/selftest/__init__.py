"""Whether the expectations of the pack discriminate: by each other's captures, and by mutants of their own."""
