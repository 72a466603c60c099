"""The scripts of `benchmarks/` are no package; their pure parts are tested like the rest."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
