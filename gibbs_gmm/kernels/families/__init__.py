"""What the kernels know of a family of components."""
