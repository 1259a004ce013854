"""Matinee: the machine-learning platform of a streaming service.

Events go in; decisions come out with the probability each had when it was made; every policy
is proved on that log before it ships and after.
"""

from typing import ClassVar, Protocol

__version__ = "0.1.0"


class Cited(Protocol):
    """Anything that names the papers it stands on: every model and policy does."""

    name: ClassVar[str]
    references: ClassVar[tuple[str, ...]]


def citation(thing: Cited | type[Cited]) -> str:
    """The papers behind a model or a policy (a class or an instance), one a line.

    >>> from matinee.models import EASE
    >>> print(citation(EASE))
    ease:
      H. Steck: Embarrassingly shallow autoencoders for sparse data. WWW 2019, 3251-3257. ...
    """
    references = getattr(thing, "references", None)
    if not references:
        raise TypeError(
            f"{thing!r} names no references; pass a model or a policy, "
            "for example matinee.citation(matinee.models.EASE)"
        )
    return "\n  ".join([f"{thing.name}:", *references])
