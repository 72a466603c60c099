"""The engine: batched steps, sessions on videos, endless streams."""

from keepsight.tracking.engine import Engine
from keepsight.tracking.options import Compatibility, EngineOptions
from keepsight.tracking.session import Session
from keepsight.tracking.sight import Sight
from keepsight.tracking.tracker import Tracker, load
from keepsight.tracking.zoom import Zoom

__all__ = ["Compatibility", "Engine", "EngineOptions", "Session", "Sight", "Tracker", "Zoom", "load"]
