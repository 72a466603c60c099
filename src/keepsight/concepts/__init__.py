"""Concepts: finds and follows everything that a word names."""

from keepsight.concepts.detector import Concept, Detections, Detector, Exemplar, checked
from keepsight.concepts.session import ConceptSession, TakesExemplars
from keepsight.concepts.settings import SELECTIONS, ConceptRules
from keepsight.concepts.stream import ConceptStream

__all__ = [
    "SELECTIONS",
    "Concept",
    "ConceptRules",
    "ConceptSession",
    "ConceptStream",
    "Detections",
    "Detector",
    "Exemplar",
    "TakesExemplars",
    "checked",
]
