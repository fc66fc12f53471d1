"""Softmax regression and the linear SVM, both ClassifierModule(FlattenEncoder, LinearHead): losses and gradients."""

import math

import pytest
import torch
from sklearn.svm import LinearSVC
from torch import nn

from dml.data.sources.points import draw_points
from dml.encoders import FlattenEncoder
from dml.heads import LinearHead
from dml.modules import ClassifierModule


def linear(num_classes, loss, images):
    torch.manual_seed(0)
    module = ClassifierModule(FlattenEncoder(), LinearHead(num_classes), loss).double()
    module(images)  # fixes the sizes
    return module


def numerical(module, labels, images, place, step=1e-5):
    weight = module.head.layer.weight
    with torch.no_grad():
        kept = weight[place].item()
        sides = []
        for moved in (kept + step, kept - step):
            weight[place] = moved
            sides.append(module.loss(module(images), labels).item())
        weight[place] = kept
    return (sides[0] - sides[1]) / (2 * step)


def images_and_labels(num_classes):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(60, 3, 6, 6, generator=generator, dtype=torch.float64) - 0.5
    return images, torch.arange(60) % num_classes


@pytest.mark.parametrize(("loss", "num_classes"), [(nn.CrossEntropyLoss(), 10), (nn.MultiMarginLoss(), 2)])
def test_analytic_and_numerical_gradients_agree_to_4e_7(loss, num_classes):
    images, labels = images_and_labels(num_classes)
    module = linear(num_classes, loss, images)
    module.loss(module(images), labels).backward()
    for place in [(0, 0), (1, 107), (num_classes - 1, 50), (0, 33)]:
        analytic, found = module.head.layer.weight.grad[place].item(), numerical(module, labels, images, place)
        assert abs(analytic - found) / (abs(analytic) + abs(found)) < 4e-7


def test_the_gradient_of_softmax_regression_is_its_closed_form():
    images, labels = images_and_labels(10)
    module = linear(10, nn.CrossEntropyLoss(), images)
    logits = module(images)
    module.loss(logits, labels).backward()
    surplus = logits.detach().softmax(dim=1) - nn.functional.one_hot(labels, 10)  # (60,10)
    torch.testing.assert_close(module.head.layer.weight.grad, surplus.T @ images.flatten(1) / 60)
    torch.testing.assert_close(module.head.layer.bias.grad, surplus.mean(dim=0))


def test_the_first_loss_is_about_ln_10():
    images, labels = images_and_labels(10)
    module = linear(10, nn.CrossEntropyLoss(), images)
    assert module.loss(module(images), labels).item() == pytest.approx(math.log(10), rel=0.05)


def test_cross_entropy_is_stable_where_exponentials_overflow():
    logits = torch.tensor([[1e4, 0.0, -1e4]], requires_grad=True)
    loss = nn.CrossEntropyLoss()(logits, torch.tensor([1]))
    loss.backward()
    assert loss.item() == 1e4
    torch.testing.assert_close(logits.grad, torch.tensor([[1.0, -1.0, 0.0]]))
    assert (logits.exp() / logits.exp().sum()).isnan().any()  # what subtracting the largest logit avoids


def test_multi_margin_loss_on_two_logits_is_half_the_hinge_loss():
    logits = torch.randn(40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(40) % 2
    total = 0.0
    for (first, second), label in zip(logits.tolist(), labels.tolist(), strict=True):
        total += max(0.0, 1 - (1 if label else -1) * (second - first))
    assert nn.MultiMarginLoss()(logits, labels).item() == pytest.approx(total / 40 / 2)


@pytest.mark.parametrize(("margin_left", "slope"), [(1e-3, -0.5), (-1e-3, 0.0)])
def test_near_the_kink_numerical_gradients_hold_only_for_steps_that_stay_on_one_side(margin_left, slope):
    score = torch.tensor([[0.0, 1 - margin_left]], dtype=torch.float64, requires_grad=True)
    hinge, label = nn.MultiMarginLoss(), torch.tensor([1])
    hinge(score, label).backward()
    assert score.grad[0, 1].item() == slope

    def central(step):
        up, down = (
            hinge(score.detach() + torch.tensor([0.0, s], dtype=torch.float64), label).item() for s in (step, -step)
        )
        return (up - down) / (2 * step)

    assert central(1e-4) == pytest.approx(slope, abs=1e-9)
    assert abs(central(1e-2) - slope) > 0.2


def test_descent_on_it_decides_as_scikit_learns_linear_svm():
    x, y = draw_points("moons", 100, 2, 0.1, seed=0)
    images, labels = torch.from_numpy(x)[:, None, None, :], torch.from_numpy(y)
    module = linear(2, nn.MultiMarginLoss(), images)
    optimizer = torch.optim.LBFGS(module.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = module.loss(module(images), labels) + 0.01 * module.head.layer.weight.square().sum()
        loss.backward()
        return loss

    for _ in range(5):
        optimizer.step(closure)
    # f = w·x, w = w₂ − w₁, and at the optimum w₂ = −w₁ = w/2: so Σ hinge / 2n + .01·|w|²/2, the SVM's C is 1/(2n·.01)
    svm = LinearSVC(loss="hinge", C=1 / (2 * 200 * 0.01), max_iter=1_000_000, intercept_scaling=100, random_state=0)
    ours = module(images).argmax(dim=1).numpy()
    assert (ours == svm.fit(x, y).predict(x)).mean() > 0.97


def test_input_noise_on_linear_regression_is_ridge():
    generator = torch.Generator().manual_seed(0)
    x, y, theta, sigma = (
        torch.randn(20, 3, generator=generator, dtype=torch.float64),
        torch.randn(20, generator=generator, dtype=torch.float64),
        torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64),
        0.4,
    )
    noise = sigma * torch.randn(40_000, 20, 3, generator=generator, dtype=torch.float64)
    losses = (y - (x + noise) @ theta).square().mean(dim=1)
    closed = (y - x @ theta).square().mean() + sigma**2 * theta.square().sum()
    standard_error = losses.std() / 40_000**0.5
    assert abs(losses.mean() - closed) < 4 * standard_error
    assert standard_error < 0.01 * closed
