"""Desks: a video, its project and its tracker, worked on by people, without a word of HTTP."""
