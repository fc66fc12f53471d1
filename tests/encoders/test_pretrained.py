"""Transfer: the encoder of an earlier run."""

import pytest
import torch
import yaml

from dml.encoders import ConvEncoder, MLPEncoder, pretrained_encoder
from dml.errors import UserError


@pytest.fixture
def run(tmp_path):
    """Return a run folder with an encoder that was trained, and that encoder."""
    encoder = ConvEncoder(4, channels=[8])
    encoder(torch.rand(5, 1, 8, 8))
    folder = tmp_path / "runs" / "first"
    (folder / "checkpoints").mkdir(parents=True)
    block = {"class_path": "dml.encoders.ConvEncoder", "init_args": {"embedding_dim": 4, "channels": [8]}}
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": {"init_args": {"encoder": block}}}))
    state = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    torch.save({"state_dict": state | {"loss.proxies": torch.rand(2)}}, folder / "checkpoints" / "best.ckpt")
    return folder, encoder


def test_it_gives_the_embeddings_of_the_run(run):
    folder, encoder = run
    images = torch.rand(3, 1, 8, 8)
    loaded = pretrained_encoder("first", runs_dir=str(folder.parent))
    torch.testing.assert_close(loaded.eval()(images), encoder.eval()(images), rtol=0, atol=0)


def test_a_run_without_weights_is_incomplete(run):
    folder, _ = run
    (folder / "checkpoints" / "best.ckpt").unlink()
    with pytest.raises(UserError, match="has no checkpoint 'best'"):
        pretrained_encoder(str(folder))


def test_weights_of_another_recipe_are_refused(run):
    folder, _ = run
    other = MLPEncoder(4)
    other(torch.rand(1, 1, 8, 8))
    state = {f"encoder.{name}": value for name, value in other.state_dict().items()}
    torch.save({"state_dict": state}, folder / "checkpoints" / "best.ckpt")
    with pytest.raises(UserError, match="does not fit"):
        pretrained_encoder(str(folder))


def test_a_recipe_without_an_encoder_is_refused(run):
    folder, _ = run
    (folder / "config.yaml").write_text("seed_everything: 0")
    with pytest.raises(UserError, match="describes no encoder"):
        pretrained_encoder(str(folder))
