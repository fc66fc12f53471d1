"""The ground floor: pure tensor functions without state, files or Lightning."""
