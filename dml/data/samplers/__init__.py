"""Which samples go into which batch: random, class-balanced, in order, or any sampler by its class_path."""
