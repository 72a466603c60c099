"""Desks: a video, its project and its tracker, worked on by people, without a word of HTTP."""

from keepsight.annotation.desk import Desk
from keepsight.annotation.glance import Glance
from keepsight.annotation.trouble import Busy, Conflict, Locked, NotFound, TooMuch
from keepsight.annotation.values import (
    Answer,
    Change,
    DeskLine,
    DeskObject,
    DeskSettings,
    DeskView,
    Event,
    Found,
    FrameDone,
    FrameMasks,
    Job,
    Limits,
    Offer,
    People,
    Picture,
    Said,
    Timeline,
    TrackRequest,
)
from keepsight.annotation.workshop import Offers, Workshop

__all__ = [
    "Answer",
    "Busy",
    "Change",
    "Conflict",
    "Desk",
    "DeskLine",
    "DeskObject",
    "DeskSettings",
    "DeskView",
    "Event",
    "Found",
    "FrameDone",
    "FrameMasks",
    "Glance",
    "Job",
    "Limits",
    "Locked",
    "NotFound",
    "Offer",
    "Offers",
    "People",
    "Picture",
    "Said",
    "Timeline",
    "TooMuch",
    "TrackRequest",
    "Workshop",
]
