"""An ensemble: in training each image is one member's, afterwards all members' mean."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dml.encoders import ConvEncoder, Encoder, EnsembleEncoder, FlattenEncoder, MLPEncoder, materialize
from dml.errors import UserError


class Times(Encoder):
    """Pixels times a number, so that a row tells which member it is of."""

    def __init__(self, factor, normalize=False):
        super().__init__(normalize)
        self.factor = factor
        self.seen = []

    def forward(self, images):
        self.seen.append(len(images))
        return self.finish(images.flatten(1) * self.factor)


@pytest.mark.parametrize("normalize", [False, True])
def test_after_training_it_is_the_members_mean(normalize):
    torch.manual_seed(0)
    members = [MLPEncoder(3, hidden_sizes=[5], normalize=normalize) for _ in range(3)]
    ensemble = EnsembleEncoder(members)
    assert materialize(ensemble, (1, 4, 4)) == (3,)
    images = torch.rand(6, 1, 4, 4)
    rows = np.mean([member.eval()(images).detach().double().numpy() for member in members], axis=0)
    truth = rows / np.linalg.norm(rows, axis=1, keepdims=True) if normalize else rows
    np.testing.assert_allclose(ensemble.eval()(images).detach().numpy(), truth, rtol=1e-5)
    assert ensemble.normalize is normalize
    assert ensemble.double()(images.double()).dtype == torch.float64


@settings(deadline=None)
@given(st.integers(2, 5), st.integers(0, 20), st.integers(0, 99))
def test_in_training_every_image_is_embedded_by_one_member_and_all_by_as_many(count, more, seed):
    torch.manual_seed(seed)
    members = [Times(factor) for factor in range(1, count + 1)]
    images = torch.rand(2 * count + more, 1, 2, 2) + 0.1
    rows = EnsembleEncoder(members).train()(images)
    factors = rows / images.flatten(1)
    whole = factors[:, 0].round()
    torch.testing.assert_close(factors, whole[:, None].expand(-1, 4))  # each row is its own image's
    shares = [int((whole == member.factor).sum()) for member in members]
    assert [sum(member.seen) for member in members] == shares
    assert sum(shares) == len(images)
    assert max(shares) - min(shares) <= 1


def test_images_are_dealt_anew_in_every_batch_by_the_seed():
    ensemble = EnsembleEncoder([Times(1), Times(2)]).train()
    images = torch.ones(8, 1, 1, 1)

    def deals():
        torch.manual_seed(3)
        return [tuple(ensemble(images)[:, 0].tolist()) for _ in range(20)]

    first = deals()
    assert len(set(first)) > 10
    assert first == deals()
    assert all({deal[row] for deal in first} == {1.0, 2.0} for row in range(8))  # every image comes to every member


def test_every_member_learns_and_each_from_its_share_alone():
    torch.manual_seed(0)
    ensemble = EnsembleEncoder([ConvEncoder(3, channels=[4]) for _ in range(2)])
    materialize(ensemble, (1, 8, 8))
    ensemble(torch.rand(8, 1, 8, 8)).square().sum().backward()
    grads = [[weight.grad for weight in member.parameters()] for member in ensemble.members]
    assert all(grad is not None and bool(grad.any()) for own in grads for grad in own[-2:])
    assert not torch.equal(grads[0][-1], grads[1][-1])


def test_what_is_no_ensemble_is_refused():
    with pytest.raises(UserError, match="1 member: an ensemble has at least two"):
        EnsembleEncoder([FlattenEncoder()])
    with pytest.raises(UserError, match="set normalize alike"):
        EnsembleEncoder([FlattenEncoder(), FlattenEncoder(normalize=True)])
    with pytest.raises(UserError, match=r"have \[2, 3\] numbers"):
        materialize(EnsembleEncoder([MLPEncoder(3), MLPEncoder(2)]), (1, 4, 4))


def test_a_batch_too_small_to_be_dealt_out_is_embedded_by_all():
    ensemble = EnsembleEncoder([Times(1), Times(2)]).train()
    assert ensemble(torch.ones(3, 1, 1, 1)).flatten().tolist() == [1.5, 1.5, 1.5]
    assert sorted(ensemble(torch.ones(4, 1, 1, 1)).flatten().tolist()) == [1, 1, 2, 2]
