"""The priors, as objects with units and as numbers for the kernels."""
