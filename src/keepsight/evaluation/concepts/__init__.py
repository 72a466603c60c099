"""Concepts in video: phrases in, tubes out; cgF1, pmF1, IL_MCC, pHOTA and tube AP."""

from keepsight.evaluation.concepts.tubes import Overlaps, Tube, overlap

__all__ = ["Overlaps", "Tube", "overlap"]
