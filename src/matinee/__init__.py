"""Matinee: the machine-learning platform of a streaming service.

Events go in; decisions come out with the probability each had when it was made; every policy
is proved on that log before it ships and after.
"""

__version__ = "0.1.0"
