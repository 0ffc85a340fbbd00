"""A run and a trace on disk: whole or not at all."""
