"""The command ``gibbs-gmm``: arguments, files, the screen and the report."""
