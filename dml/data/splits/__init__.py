"""Which images are for training, validation and test."""
