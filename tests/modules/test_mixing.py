"""Images with a rectangle of another: what they hold, what the loss makes of them, resumed bit for bit."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from dml.callbacks import RandomState
from dml.data import Batch, ImageData, StratifiedSplit
from dml.encoders import FlattenEncoder, MLPEncoder
from dml.errors import UserError
from dml.heads import LinearHead
from dml.modules import ClassifierModule, cut_mix


@given(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9), st.integers(0, 10_000))
def test_every_pixel_is_of_one_of_two_images_and_the_others_form_one_rectangle(count, height, width, seed):
    torch.manual_seed(seed)
    own = torch.arange(count) * 10
    images = own.float().view(-1, 1, 1, 1).expand(count, 2, height, width)
    before = images.clone()
    mixed, others, share = cut_mix(images, own)
    assert torch.equal(images, before)
    assert sorted(others.tolist()) == own.tolist()
    moved = torch.zeros(height, width, dtype=torch.bool)
    for image, label, other in zip(mixed, own, others, strict=True):
        assert torch.equal(image[0], image[1])
        assert set(image.unique().tolist()) <= {float(label), float(other)}
        if label != other:
            moved = image[0] == other
            rows, columns = moved.any(dim=1), moved.any(dim=0)
            assert torch.equal(moved, rows[:, None] & columns)
            assert rows.int().diff().abs().sum() <= 2
            assert columns.int().diff().abs().sum() <= 2
            assert share == pytest.approx(moved.float().mean().item())
    assert 0 <= share <= 1


def test_the_rectangle_has_the_area_of_the_paper_on_average():
    torch.manual_seed(0)
    images, labels = torch.zeros(1, 1, 64, 64), torch.zeros(1, dtype=torch.long)
    shares = torch.tensor([cut_mix(images, labels).share for _ in range(4_000)], dtype=torch.float64)
    # a side s = √u about a uniform centre, cut off, is s − s²/4 long on average: E[share] = ∫(s − s²/4)² 2s ds
    expected = 2 * (1 / 4 - 1 / 10 + 1 / 96)
    assert shares.mean().item() == pytest.approx(expected, abs=4 * shares.std().item() / 4_000**0.5)


def test_the_loss_is_the_mean_of_both_labels_weighted_by_area_and_steps_without_are_as_ever(monkeypatch):
    module = ClassifierModule(FlattenEncoder(), LinearHead(3), cut_mix=0.5)
    monkeypatch.setattr(module, "log", lambda *args, **keys: None)
    torch.manual_seed(1)
    batch = Batch(torch.rand(6, 1, 8, 8), torch.tensor([0, 1, 2, 2, 1, 0]), torch.arange(6))
    module.build((1, 8, 8))
    kinds = set()
    for step in range(20):
        torch.manual_seed(step)
        found = module.training_step(batch, step)
        torch.manual_seed(step)
        parts, pixels = [(1.0, batch.labels)], batch.images
        if torch.rand(()).item() < 0.5:
            pixels, others, share = cut_mix(batch.images, batch.labels)
            parts = [(1 - share, batch.labels), (share, others)]
        kinds.add(len(parts))
        likely = module(pixels).double().log_softmax(dim=1)
        expected = sum(-weight * likely.gather(1, labels[:, None]).mean() for weight, labels in parts)
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert kinds == {1, 2}


def _fit(module, epochs, callbacks, resumed=None):
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=any(isinstance(each, ModelCheckpoint) for each in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=callbacks,
    )
    data = ImageData(split=StratifiedSplit(val=100, test=0), batch_size=400, cache=False)
    trainer.fit(module, datamodule=data, ckpt_path=resumed)


def test_a_resumed_training_mixes_what_the_unbroken_one_does(tmp_path):
    def module():
        torch.manual_seed(0)
        return ClassifierModule(MLPEncoder(4, hidden_sizes=[8]), LinearHead(10), cut_mix=0.5)

    whole, resumed = module(), module()
    _fit(whole, 4, [ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1), RandomState()])
    torch.manual_seed(99)
    _fit(resumed, 4, [RandomState()], tmp_path / "epoch=1.ckpt")
    left, right = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_kept_embeddings_are_not_of_mixed_images():
    with pytest.raises(UserError, match=r"set model\.cache_embeddings to false"):
        ClassifierModule(FlattenEncoder(), LinearHead(10), freeze_encoder=True, cut_mix=1.0)
    keys = {"freeze_encoder": True, "cache_embeddings": False, "cut_mix": 1.0}
    _fit(ClassifierModule(FlattenEncoder(), LinearHead(10), **keys), 1, [])


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_a_probability_is_within_0_and_1(value):
    with pytest.raises(UserError, match="cut_mix"):
        ClassifierModule(FlattenEncoder(), LinearHead(10), cut_mix=value)


def test_rows_of_numbers_are_refused():
    with pytest.raises(UserError, match=r"model\.cut_mix cuts images \(B,C,H,W\), not data of shape \(3, 5\)"):
        cut_mix(torch.zeros(3, 5), torch.zeros(3, dtype=torch.long))
