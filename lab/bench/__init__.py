"""How fast, how alike and how exact: measured, and published in docs/benchmarks.md."""
