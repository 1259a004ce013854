"""Conformance suites: what every model, policy and surface must keep, to run on your own.

Each suite is a class of plain tests for pytest; subclass it, name yours ``Test...``, and return
what is to be tested. The suites themselves need nothing but Matinee.
"""

from matinee.testing.models import ModelConformance
from matinee.testing.policies import PolicyConformance
from matinee.testing.surfaces import SurfaceConformance

__all__ = ["ModelConformance", "PolicyConformance", "SurfaceConformance"]
