"""Concepts: finds and follows everything that a word names."""

from keepsight.concepts.corrected import CorrectedSession
from keepsight.concepts.detector import (
    Concept,
    Detections,
    Detector,
    Exemplar,
    LearnsAlong,
    LooksBeforehand,
    TakesExemplars,
    checked,
)
from keepsight.concepts.session import ConceptSession
from keepsight.concepts.settings import SELECTIONS, ConceptRules
from keepsight.concepts.stream import ConceptStream

__all__ = [
    "SELECTIONS",
    "Concept",
    "ConceptRules",
    "ConceptSession",
    "ConceptStream",
    "CorrectedSession",
    "Detections",
    "Detector",
    "Exemplar",
    "LearnsAlong",
    "LooksBeforehand",
    "TakesExemplars",
    "checked",
]
