"""The sweep and its moves."""
