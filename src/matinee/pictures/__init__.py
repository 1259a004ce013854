"""Pictures of a film: from its file to the dozen candidates that a person approves.

Decoding needs OpenCV (``pip install 'matinee[video]'``) and runs in a process of its own with few
rights, as a film may be broken or made to do harm.
"""

from matinee.pictures.candidate import RATIOS, Candidate, Extracted
from matinee.pictures.extract import Folder, extract, measure
from matinee.pictures.settings import Extraction, Limits
from matinee.pictures.sheet import sheet

__all__ = [
    "RATIOS",
    "Candidate",
    "Extracted",
    "Extraction",
    "Folder",
    "Limits",
    "extract",
    "measure",
    "sheet",
]
