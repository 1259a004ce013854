"""`matinee demo`: a service that goes round the loop once, and is then served."""

from matinee.demo.loop import movielens, simulated

__all__ = ["movielens", "simulated"]
