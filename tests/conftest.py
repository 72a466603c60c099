"""What holds for every test process."""

import signal

import torch
from hypothesis import settings

# On few cores more threads wait for each other instead of working.
torch.set_num_threads(1)

# What passed passes again: the same examples each time. `make search` draws new ones.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

# A shell that runs the tests in the background has Ctrl-C ignored, and so would the programs that tests start and interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
