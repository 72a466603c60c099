"""Concepts: finds and follows everything that a word names."""

from keepsight.concepts.detector import Concept, Detections, Detector, Exemplar, checked

__all__ = ["Concept", "Detections", "Detector", "Exemplar", "checked"]
