"""The lake: what happened, kept exactly once, as it was known at any time."""
