"""Kernels of questions asked of a trace."""
