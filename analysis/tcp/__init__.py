"""TCP segments to connections and what became of them."""
