"""Experiments over whole runs: comparing two of them. Read result files; train nothing themselves."""
