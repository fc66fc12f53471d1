"""Random changes to batches of training images, their noise a function of (seed, epoch, position)."""
