"""Conformance suites: what every model and policy must keep, to run on your own.

Each suite is a class of plain tests for pytest; subclass it, name yours ``Test...``, and return
what is to be tested. The suites themselves need nothing but Matinee.
"""

from matinee.testing.models import ModelConformance
from matinee.testing.policies import PolicyConformance

__all__ = ["ModelConformance", "PolicyConformance"]
