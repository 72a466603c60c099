"""The command line. One file a command; each parses, calls a room of the house, and prints."""
