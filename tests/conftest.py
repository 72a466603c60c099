"""One thread a test process: on few cores more threads wait for each other instead of working."""

import signal

import torch

torch.set_num_threads(1)

# A shell that runs the tests in the background has Ctrl-C ignored, and so would the programs that tests start and interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
