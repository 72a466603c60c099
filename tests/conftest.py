"""One thread a test process: on few cores more threads wait for each other instead of working."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)
