"""Whole jobs: from a video and prompts to a project and everything that is derived from it."""
