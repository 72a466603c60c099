"""One thread a test process: on few cores more threads wait for each other instead of working."""

import torch

torch.set_num_threads(1)
