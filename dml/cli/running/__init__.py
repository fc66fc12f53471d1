"""What surrounds training while it runs: guards around Lightning, other processes, trials of a sweep."""
