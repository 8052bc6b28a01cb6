"""A whole class: its submissions marked in parallel, each once; its folder of results."""
