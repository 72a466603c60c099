"""The JSON API that the page and programs use, below ``/api``."""
