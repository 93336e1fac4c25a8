"""The command line: flags, each beside what reads it, and the modes. Only `train.py` and this see all packages."""
