"""What training rests on: chains of affine maps, the chain rule, stationary points, and when gradient descent stops."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import grad

from dml.errors import UserError

Scalar = Callable[..., Tensor]  # scalar tensors -> a scalar tensor, differentiable
StationaryPoint = Literal["minimum", "maximum", "saddle point", "undecided"]
Criterion = Literal["gradient", "change", "steps"]


def compose_affine(layers: Sequence[nn.Linear]) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the one affine map that a chain of affine maps is: B(Ax + a) + b = (BA)x + (Ba + b).

    Without any bias all maps are linear, and so is the chain: its bias is 0.

    Args:
        layers: The first is applied first; of matching sizes.

    Returns:
        weight (out,in) and bias (out,).

    Raises:
        UserError: No layers.

    Example:
        >>> layers = [nn.Linear(4, 2), nn.Linear(2, 3)]
        >>> weight, bias = compose_affine(layers)
        >>> x = torch.ones(4)
        >>> torch.allclose(weight @ x + bias, nn.Sequential(*layers)(x), atol=1e-6)
        True
    """
    if not layers:
        raise UserError("layers is empty: a chain has at least one affine map")
    weight, bias = torch.eye(layers[0].in_features).to(layers[0].weight), layers[0].weight.new_zeros(())
    for layer in layers:
        weight, bias = layer.weight @ weight, layer.weight @ bias.expand(layer.in_features)
        bias = bias if layer.bias is None else bias + layer.bias
    return weight, bias


def derivative_of_arguments(f: Scalar, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Return ∂/∂x f(x + y, 2x, z) = ∂₁f + 2·∂₂f, each at (x + y, 2x, z).

    Example:
        >>> derivative_of_arguments(lambda a, b, c: a * b * c, *torch.tensor([1.0, 2.0, 3.0]))  # of (x + y)·2x·z
        tensor(24.)
    """
    at = (x + y, 2 * x, z)
    derivative: Tensor = grad(f, 0)(*at) + 2 * grad(f, 1)(*at)
    return derivative


def derivative_of_chain(functions: Sequence[Scalar], x: Tensor) -> Tensor:
    """Return ∂/∂x f₁(f₂(… fₙ(x))): the product of every function's derivative at what lies within it.

    Example:
        >>> derivative_of_chain([torch.exp, torch.square], torch.tensor(0.0))
        tensor(0.)
    """
    product, inner = torch.ones_like(x), x
    for function in reversed(functions):
        product, inner = product * grad(function)(inner), function(inner)
    return product


def derivative_of_nest(functions: Sequence[Scalar], x: Tensor) -> Tensor:
    """Return ∂/∂x f₁(x, f₂(x, … fₙ₋₁(x, fₙ(x)))), from within: dₙ = fₙ′(x), dᵢ = ∂₁fᵢ + ∂₂fᵢ · dᵢ₊₁.

    Args:
        functions: All but the last take two arguments.
        x: Scalar.

    Example:
        >>> derivative_of_nest([torch.mul, torch.add, torch.square], torch.tensor(2.0))  # x·(x + x²)
        tensor(16.)
    """
    *outer, last = functions
    derivative: Tensor
    derivative, inner = grad(last)(x), last(x)
    for function in reversed(outer):
        derivative = grad(function, 0)(x, inner) + grad(function, 1)(x, inner) * derivative
        inner = function(x, inner)
    return derivative


def derivative_of_sums(f: Scalar, g: Scalar, h: Scalar, x: Tensor) -> Tensor:
    """Return ∂/∂x f(x + g(x + h(x))) = f′(x + g(x + h(x))) · (1 + g′(x + h(x)) · (1 + h′(x))).

    Example:
        >>> derivative_of_sums(torch.square, torch.square, torch.square, torch.tensor(1.0))  # 2·5 · (1 + 4·3)
        tensor(130.)
    """
    within = x + h(x)
    derivative: Tensor = grad(f)(x + g(within)) * (1 + grad(g)(within) * (1 + grad(h)(x)))
    return derivative


def stationary_point(hessian: Tensor, tolerance: float = 1e-9) -> StationaryPoint:
    """Return what kind of stationary point the Hessian tells, by the signs of its eigenvalues.

    All positive: a minimum; all negative: a maximum; both: a saddle point; otherwise, with a zero among them and the
    rest of one sign, the second order does not decide.

    Args:
        hessian: (D,D), symmetric.
        tolerance: Eigenvalues below this share of the largest absolute one count as 0.

    Example:
        >>> stationary_point(torch.diag(torch.tensor([2.0, -1.0])))
        'saddle point'
    """
    eigenvalues = torch.linalg.eigvalsh(hessian.double())
    zero = tolerance * eigenvalues.abs().max()
    positive, negative = eigenvalues > zero, eigenvalues < -zero
    if positive.any() and negative.any():
        return "saddle point"
    if positive.all():
        return "minimum"
    return "maximum" if negative.all() else "undecided"


class Descent(NamedTuple):
    """Where gradient descent ended: the point (D,), f and ‖∇f‖ there, its steps, whether the criterion stopped it."""

    point: Tensor
    value: float
    gradient_norm: float
    steps: int
    stopped: bool


def gradient_descent(
    function: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    rate: float,
    criterion: Criterion,
    tolerance: float,
    max_steps: int,
) -> Descent:
    """Walk down the gradient, x ← x − rate·∇f(x), until a criterion is met or max_steps are done.

    Args:
        function: (D,) -> scalar, differentiable.
        start: (D,).
        rate: Length of a step per unit of gradient, > 0.
        criterion: `gradient`: ‖∇f(x)‖ < tolerance; `change`: |f(x) − f(before)| < tolerance; `steps`: max_steps alone.
        tolerance: Of the criterion, in its own unit.
        max_steps: At most so many.

    Source: Nocedal, Wright, "Numerical Optimization", 2006, chapter 3.

    Example:
        >>> found = gradient_descent(lambda x: x.square().sum(), torch.tensor([1.0]), rate=0.25, criterion="gradient",
        ...                          tolerance=0.1, max_steps=100)
        >>> found.steps, found.stopped
        (5, True)
    """
    point, before = start, torch.inf
    for step in range(max_steps + 1):
        gradient, value = grad(function)(point), float(function(point))
        norm = float(gradient.norm())
        met = {"gradient": norm < tolerance, "change": abs(before - value) < tolerance, "steps": False}[criterion]
        if met or step == max_steps:
            break
        point, before = point - rate * gradient, value
    return Descent(point, value, norm, step, met)
