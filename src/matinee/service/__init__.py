"""A service: one folder with its settings, its lake, and what runs on them."""
