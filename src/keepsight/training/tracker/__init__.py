"""Light fine-tuning of a tracker on one's own masks: `run.py` is the front, `footage.py` what it learns from."""
