"""Features: plain Polars functions on one bucket, pure, the same on every executor."""
