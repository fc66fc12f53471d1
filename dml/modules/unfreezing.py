"""Gradual unfreezing: which layers of an encoder are trained in which epoch."""

from collections.abc import Container

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


def fixed_weights(encoder: Encoder) -> frozenset[str]:
    """Return the names of what an encoder itself does not learn: a frozen network, the weights under a LoRA.

    Example:
        >>> from dml.encoders import LinearEncoder
        >>> fixed_weights(LinearEncoder(2))
        frozenset()
    """
    return frozenset(name for name, p in encoder.named_parameters() if not p.requires_grad)


def unfreeze(encoder: Encoder, moving: int, training: bool, fixed: Container[str] = ()) -> None:
    """Train the last layers and keep the others as they are: weights, BatchNorm statistics and dropout.

    Args:
        encoder: Its lazy sizes are fixed.
        moving: Number of layers that are trained; all, if there are no more.
        training: Whether the moving ones are in training mode, as far as the encoder puts them into it.
        fixed: Names of weights that are not learnt in any layer.

    Example:
        >>> from dml.encoders import ConvEncoder, materialize
        >>> encoder = ConvEncoder(8, channels=[4])
        >>> _ = materialize(encoder, (1, 8, 8))
        >>> unfreeze(encoder, 1, training=True)
        >>> sorted({name.split(".")[0] for name, p in encoder.named_parameters() if p.requires_grad})
        ['projection']
    """
    encoder.train(training)
    modes = {module: module.training for module in encoder.modules()}
    encoder.requires_grad_(False).eval()
    learnt = {parameter for name, parameter in encoder.named_parameters() if name not in fixed}
    layers = layers_of(encoder)
    for layer in layers[max(0, len(layers) - moving) :]:
        for parameter in learnt.intersection(layer.parameters):
            parameter.requires_grad_(True)
        for module in layer.modules:
            for part in module.modules():
                part.training = modes[part]
