"""Payments: what was tried, what may be tried next, and the words for it."""
