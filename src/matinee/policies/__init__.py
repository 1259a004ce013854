"""Policies: beliefs become probabilities, and a draw whose propensity is known exactly."""
