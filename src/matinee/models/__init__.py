"""Models: what is likely. One algorithm a file, one contract for all."""
