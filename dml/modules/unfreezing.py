"""Gradual unfreezing: which layers of an encoder are trained in which epoch."""

from dml.encoders import Encoder, layers_of
from dml.errors import UserError


def moving_layers(epoch: int, every: int | None) -> int:
    """Return how many layers, counted from the last, are trained in an epoch: one more after every so many epochs.

    Raises:
        UserError: `every` is below 1.

    Example:
        >>> [moving_layers(epoch, every=2) for epoch in range(5)], moving_layers(9, None)
        ([0, 0, 1, 1, 2], 0)
    """
    if every is not None and every < 1:
        raise UserError(f"model.unfreeze_every={every}: give a number of epochs, at least 1")
    return 0 if every is None else epoch // every


def unfreeze(encoder: Encoder, moving: int, training: bool) -> None:
    """Train the last layers and keep the others as they are: weights, BatchNorm statistics and dropout.

    Args:
        encoder: Its lazy sizes are fixed.
        moving: Number of layers that are trained; all, if there are no more.
        training: Whether the moving ones are in training mode.

    Example:
        >>> from dml.encoders import ConvEncoder, materialize
        >>> encoder = ConvEncoder(8, channels=[4])
        >>> _ = materialize(encoder, (1, 8, 8))
        >>> unfreeze(encoder, 1, training=True)
        >>> sorted({name.split(".")[0] for name, p in encoder.named_parameters() if p.requires_grad})
        ['projection']
    """
    encoder.requires_grad_(False).eval()
    layers = layers_of(encoder)
    for layer in layers[max(0, len(layers) - moving) :]:
        for parameter in layer.parameters:
            parameter.requires_grad_(True)
        for module in layer.modules:
            module.train(training)
