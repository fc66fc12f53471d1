"""What stands around a training while it runs: guards around Lightning, other processes, trials of a sweep."""
