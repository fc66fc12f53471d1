"""Experiments over whole runs: sweeps, stages, probes, comparisons and reports; they train by running `dml`."""
