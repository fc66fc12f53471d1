"""A frozen encoder runs once per image; with and without its cache the results are equal; a bad entry is rewritten."""

import copy
import logging

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from dml.callbacks import KNNEvaluation
from dml.data import Augmentation, Digits, ImageData, StratifiedSplit
from dml.encoders import ConvEncoder, Encoder, FlattenEncoder, encoder_hash
from dml.heads import LinearHead, MLPHead
from dml.modules import ClassifierModule


class CountingEncoder(Encoder):
    """Counts the images it sees; each row depends on its own image alone, whatever the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(16, 64))
        self.register_buffer("seen", torch.zeros(()), persistent=False)
        self.images = torch.zeros(())

    def forward(self, images):
        if not bool((images == 0).all()):  # what materialize shows does not count
            self.images += len(images)
        return (images.flatten(1)[:, None] * self.scale).sin().cumsum(dim=2)[..., -1]


def make_data(tmp_path, **keys):
    return ImageData(split=StratifiedSplit(val=300, test=200), batch_size=100, cache_dir=str(tmp_path), **keys)


def make_trainer(epochs=3, **keys):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    return Trainer(max_epochs=epochs, enable_model_summary=False, num_sanity_val_steps=0, **quiet, **keys)


def make_module(encoder=None, **keys):
    torch.manual_seed(0)
    encoder = CountingEncoder() if encoder is None else encoder
    return ClassifierModule(encoder, MLPHead(10, dropout=0.2), freeze_encoder=True, **keys)


def fit(module, data, epochs=3, **keys):
    trainer = make_trainer(epochs, **keys)
    torch.manual_seed(1)
    trainer.fit(module, datamodule=data)
    return {name: value.item() for name, value in trainer.callback_metrics.items()}


def test_the_encoder_sees_each_image_once_over_epochs_evaluation_and_a_second_run(tmp_path):
    module = make_module()
    data = make_data(tmp_path)
    fit(module, data, callbacks=[KNNEvaluation()])
    assert module.encoder.images == 1297 + 300
    make_trainer().validate(module, datamodule=data, verbose=False)
    assert module.encoder.images == 1597
    make_trainer().test(module, datamodule=data, verbose=False)
    assert module.encoder.images == 1597 + 200  # the test images, asked for the first time
    again = make_module()
    fit(again, make_data(tmp_path))  # another process, as far as the cache can tell
    assert again.encoder.images == 0


@pytest.mark.parametrize("on_disk", [True, False])
def test_results_are_those_without_the_cache_bit_for_bit(tmp_path, on_disk):
    runs = []
    for cached in (False, True, True):
        module = make_module(cache_embeddings=cached)
        data = make_data(tmp_path, cache=on_disk)
        scores = fit(module, data, callbacks=[KNNEvaluation(baselines=False)])
        tested = make_trainer().test(module, datamodule=data, verbose=False)
        predicted = torch.cat(make_trainer().predict(module, datamodule=data))
        runs.append((scores, tested, module.head.state_dict(), predicted))
    for scores, tested, weights, predicted in runs[1:]:
        assert scores == runs[0][0]
        assert tested == runs[0][1]
        assert all(torch.equal(weights[name], runs[0][2][name]) for name in weights)
        assert torch.equal(predicted, runs[0][3])


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_real_encoder_agrees_with_its_cache_to_rounding(tmp_path, precision):
    heads, scores = [], []
    for cached in (False, True):
        torch.manual_seed(0)
        encoder = ConvEncoder(8, channels=[4, 8], dropout=0.5)
        encoder(torch.rand(4, 1, 8, 8))
        module = make_module(encoder, cache_embeddings=cached)
        scores.append(fit(module, make_data(tmp_path), precision=precision))
        heads.append(module.head.state_dict())
    for name in heads[0]:
        torch.testing.assert_close(heads[0][name], heads[1][name], atol=1e-4, rtol=1e-3)
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


def test_transformed_images_are_embedded_anew_in_every_epoch_and_that_is_said(tmp_path, caplog):
    module = make_module()
    with caplog.at_level(logging.WARNING):
        fit(module, make_data(tmp_path, transform=Augmentation(crop_padding=1)))
    assert "the frozen encoder runs on every batch" in caplog.text
    # the references of validation are untransformed training images: once; the batches: in each of three epochs
    assert module.encoder.images == 300 + 1297 + 3 * 1297


def test_a_moving_encoder_is_never_cached(tmp_path):
    module = ClassifierModule(CountingEncoder(), LinearHead(10))
    fit(module, make_data(tmp_path), epochs=2)
    assert module.encoder.images == 2 * (1297 + 300 + 1297)
    assert not list(tmp_path.glob("embeddings-*"))


def test_images_are_handed_out_again_afterwards(tmp_path):
    data = make_data(tmp_path)
    fit(make_module(), data, epochs=1)
    batch = next(iter(data.val_dataloader()[0]))
    assert batch.embeddings is None
    assert batch.images.shape == (300, 1, 8, 8)


@pytest.mark.parametrize(
    "change",
    [
        lambda encoder, keys: encoder.scale.data.mul_(1.0001),
        lambda encoder, keys: encoder.seen.add_(1),
        lambda encoder, keys: keys.update(mean=0.4),
        lambda encoder, keys: keys.update(labelled_share=0.5),
    ],
    ids=["a weight", "a buffer", "the normalisation", "the training images"],
)
def test_other_weights_or_images_are_other_entries(tmp_path, change):
    fit(make_module(), make_data(tmp_path), epochs=1)
    encoder, keys = CountingEncoder(), {}
    encoder.load_state_dict(make_module().encoder.state_dict())
    change(encoder, keys)
    fit(make_module(encoder), make_data(tmp_path, **keys), epochs=1)
    assert encoder.images > 0


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "text"])
def test_a_damaged_entry_is_told_and_rewritten(tmp_path, damage, caplog):
    scores = fit(make_module(), make_data(tmp_path))
    for path in tmp_path.glob("embeddings-*"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        broken = {"truncated": content[:1000], "empty": b"", "flipped": content, "text": b"no entry"}
        path.write_bytes(bytes(broken[damage]))
    module = make_module()
    with caplog.at_level(logging.WARNING):
        assert fit(module, make_data(tmp_path)) == scores
    assert "damaged: the encoder is run again" in caplog.text
    assert module.encoder.images == 1597
    whole = make_module()
    fit(whole, make_data(tmp_path))
    assert whole.encoder.images == 0


def test_a_folder_that_cannot_be_written_costs_the_cache_alone(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        fit(make_module(), make_data(tmp_path / "file"), epochs=1)
    assert "set data.cache_dir" in caplog.text


def test_the_hash_tells_classes_settings_and_weights_apart_and_nothing_else():
    def build(**keys):
        torch.manual_seed(0)
        encoder = ConvEncoder(8, channels=[4], **keys)
        encoder.eval()(torch.rand(2, 1, 8, 8))
        return encoder

    first = encoder_hash(build())
    assert first == encoder_hash(build())
    assert first == encoder_hash(build().train().requires_grad_(False))
    assert first != encoder_hash(build(dropout=0.25))
    counted = build()
    counted.train()(torch.rand(8, 1, 8, 8))  # BatchNorm counts
    assert first != encoder_hash(counted)
    assert encoder_hash(FlattenEncoder()) != encoder_hash(nn.Flatten())
    moved = copy.deepcopy(build())
    moved.projection.weight.data[0, 0] += 1e-6
    assert first != encoder_hash(moved)


def test_unchanged_embeddings_are_scored_once(tmp_path, monkeypatch):
    calls, score = [], KNNEvaluation._score
    monkeypatch.setattr(KNNEvaluation, "_score", lambda self, *sets: calls.append(sets) or score(self, *sets))
    fit(make_module(), make_data(tmp_path), callbacks=[KNNEvaluation(baselines=False)])
    assert len(calls) == 1
    module = ClassifierModule(ConvEncoder(8, channels=[4]), LinearHead(10))
    fit(module, make_data(tmp_path), callbacks=[KNNEvaluation(baselines=False)])
    assert len(calls) == 1 + 3


def test_digits_have_a_fingerprint():
    assert Digits().open().fingerprint
