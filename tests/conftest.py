"""What holds for every test process."""

import signal

import torch
from hypothesis import HealthCheck, settings

# On few cores more threads wait for each other instead of working.
torch.set_num_threads(1)

# What passed passes again, on a busy machine too: the same examples each time, however long they take to draw. `make search`
# draws new ones.
settings.register_profile("new", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", settings.get_profile("new"), derandomize=True)
settings.load_profile("repeatable")

# A shell that runs the tests in the background has Ctrl-C ignored, and so would the programs that tests start and interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
