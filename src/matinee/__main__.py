"""``python -m matinee`` is the command ``matinee``."""

from matinee.cli import main

main()
