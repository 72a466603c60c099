"""Weights and the adapters over them. Importing this package imports no torch; its modules do."""
