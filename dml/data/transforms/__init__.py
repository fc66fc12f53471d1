"""Random changes to batches of images, their noise a function of (seed, epoch, position)."""
