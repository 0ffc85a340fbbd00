"""``python -m gibbs_gmm`` is the command ``gibbs-gmm``."""

import sys

from gibbs_gmm.command_line.cli import program

if __name__ == "__main__":
    sys.exit(program())
