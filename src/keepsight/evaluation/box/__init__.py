"""Tracking from a box on the first frame: LaSOT, GOT-10k and VOT(S) data sets, their measures and submission files.

A model answers with masks; its box is the tight box of the mask, and where the mask is empty it says that the object is not
there. Only the measures of VOTS give credit for that, so all three families are reported for whatever was measured.
"""
