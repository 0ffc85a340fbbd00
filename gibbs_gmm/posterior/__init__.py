"""Questions asked of a trace. Nothing here imports the sampler, the front doors or the command line."""
