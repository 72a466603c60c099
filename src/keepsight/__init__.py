"""Keepsight: segments and tracks objects through video and does not lose sight of them."""
