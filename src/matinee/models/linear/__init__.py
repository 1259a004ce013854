"""The linear model, room by room: what is told of members, what is summed, what follows."""

from matinee.models.linear.model import Linear

__all__ = ["Linear"]
