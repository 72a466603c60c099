"""Concepts: finds and follows everything that a word names."""

from keepsight.concepts.detector import Concept, Detections, Detector, Exemplar, checked
from keepsight.concepts.session import ConceptSession, TakesExemplars
from keepsight.concepts.settings import SELECTIONS, ConceptRules

__all__ = [
    "SELECTIONS",
    "Concept",
    "ConceptRules",
    "ConceptSession",
    "Detections",
    "Detector",
    "Exemplar",
    "TakesExemplars",
    "checked",
]
