"""The autoencoder under Lightning and from the front door: its error is per pixel in 0..1, its encoder any encoder."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from sklearn.decomposition import PCA
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from dml import runs
from dml.callbacks import GracefulInterrupt
from dml.cli import main
from dml.data import ImageData, ProgressiveResizing, StratifiedSplit
from dml.data.sources.points import Points
from dml.decoders import ConvDecoder, Decoder, MLPDecoder
from dml.encoders import ConvEncoder, LinearEncoder, MLPEncoder, StridedConvEncoder, materialize, pretrained_encoder
from dml.errors import UserError
from dml.losses import GaussianLikelihoodLoss
from dml.modules import AutoencoderModule


def _data(**keys):
    return ImageData(split=StratifiedSplit(val=100, test=200), batch_size=100, **keys)


def _fit(module, epochs=1, data=None):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    built = Trainer(max_epochs=epochs, enable_model_summary=False, num_sanity_val_steps=0, **quiet)
    built.fit(module, datamodule=data or _data())
    return built


def _small(**keys):
    return AutoencoderModule(MLPEncoder(4, [16], batch_norm=True), MLPDecoder([16]), **keys)


@pytest.mark.parametrize("normalised", [{}, {"mean": 0.3, "std": 0.2}, {"mean": [0.3], "std": [0.2]}])
def test_the_error_is_per_pixel_in_0_to_1_whatever_the_normalisation(normalised):
    module = _small()
    trainer = _fit(module, data=_data(**normalised))
    data, logged = trainer.datamodule, trainer.callback_metrics["val/mse"].item()
    pixels = data.thumbnails(torch.from_numpy(data.parts.val)).float() / 255
    module.eval()
    with torch.no_grad():
        again = torch.cat([module(batch.images) for batch in data.val_dataloader()[0]])
    assert logged == pytest.approx(float((again - pixels).square().mean()), rel=1e-5)
    torch.testing.assert_close(module.pixels(next(iter(data.val_dataloader()[0])).images), pixels, atol=1e-6, rtol=0)


def test_images_are_reconstructed_in_one_size():
    with pytest.raises(UserError, match=r"an autoencoder's images keep one size: choose a data\.transform that"):
        _fit(_small(), data=_data(transform=ProgressiveResizing([4, 8], [0, 1])))
    _fit(_small(), data=_data(transform=ProgressiveResizing([8], [0])))


def test_a_linear_autoencoder_comes_to_pcas_error_and_not_below_it():
    torch.manual_seed(0)
    data = _data()
    module = AutoencoderModule(
        LinearEncoder(5, bias=True),
        MLPDecoder([], sigmoid=False),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.02),
    )
    _fit(module, epochs=30, data=data)
    train = data.thumbnails(torch.from_numpy(data.parts.train)).float().flatten(1).numpy() / 255
    pca = PCA(5).fit(train)
    best = float(((pca.inverse_transform(pca.transform(train)) - train) ** 2).mean())
    with torch.no_grad():
        images = torch.from_numpy(train).view(-1, 1, 8, 8)
        ours = float((module((images - 0.5) / 0.5) - images).square().mean())
    assert best <= ours <= 1.1 * best


@pytest.mark.parametrize("loss", [None, nn.MSELoss(), nn.BCELoss(), nn.L1Loss()])
@pytest.mark.parametrize("conv", [False, True])
def test_every_loss_and_pair_learns(loss, conv):
    torch.manual_seed(0)
    networks = (StridedConvEncoder(8, [8, 16]), ConvDecoder([16, 8])) if conv else (MLPEncoder(8), MLPDecoder())
    module = AutoencoderModule(*networks, loss=loss, optimizer=lambda p: torch.optim.Adam(p, lr=0.003))
    module.build((1, 8, 8))
    data = _data()
    data.setup()
    pixels = data.thumbnails(torch.from_numpy(data.parts.val)).float() / 255
    module.eval()
    with torch.no_grad():
        before = float((module(pixels * 2 - 1) - pixels).square().mean())
    after = _fit(module, epochs=4, data=data).callback_metrics["val/mse"].item()
    assert after < 0.75 * before


def test_any_encoder_and_any_image_serve(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 9, 13, 3), dtype=np.uint8)
    np.savez(tmp_path / "pictures.npz", images=images, labels=np.arange(40) % 2)
    data = ImageData(root=str(tmp_path / "pictures.npz"), split=StratifiedSplit(val=10, test=0), batch_size=10)
    trainer = _fit(AutoencoderModule(ConvEncoder(3, channels=[4, 8]), ConvDecoder([8, 4, 4])), data=data)
    assert 0 < trainer.callback_metrics["val/mse"] < 1


def test_a_denoising_autoencoder_sees_noise_while_training_alone():
    module = _small(noise_std=0.5, masking=0.3)
    module.build((1, 8, 8))
    seen = []
    module.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    data = _data()
    data.setup()
    batch, clean = next(iter(data.train_dataloader())), next(iter(data.val_dataloader()[0]))
    module.log = module.log_dict = lambda *_, **__: None
    module.training_step(batch, 0)
    module.validation_step(clean, 0)
    difference = (seen[0] - batch.images) * 0.5
    assert (module.pixels(seen[0]).abs() < 1e-6).float().mean() == pytest.approx(0.3, abs=0.03)
    assert difference[module.pixels(seen[0]).abs() > 1e-6].std() == pytest.approx(0.5, abs=0.03)
    assert torch.equal(seen[1], clean.images)


def test_the_target_of_a_denoising_autoencoder_is_clean():
    torch.manual_seed(0)
    module = _small(masking=0.9, loss=_Target())
    module.build((1, 8, 8))
    module.log = lambda *_, **__: None
    data = _data()
    data.setup()
    batch = next(iter(data.train_dataloader()))
    torch.testing.assert_close(module.training_step(batch, 0), module.pixels(batch.images).mean())


class _Target(nn.Module):
    def forward(self, reconstructions, pixels):
        """Return the mean of the target alone."""
        return pixels.mean()


def test_a_variational_autoencoder_draws_while_training_and_validates_by_the_mean():
    torch.manual_seed(0)
    module = _small(beta=1.0)
    trainer = _fit(module, data=_data())
    assert module.log_variance.weight.shape == (4, 4)
    codes = []
    module.decoder.register_forward_pre_hook(lambda _, inputs: codes.append(inputs[0].detach()))
    module.log = module.log_dict = lambda *_, **__: None
    module.eval()
    batch = next(iter(trainer.datamodule.val_dataloader()[0]))
    embeddings = module.validation_step(batch, 0)
    module.training_step(batch, 0)
    assert torch.equal(codes[0], embeddings)
    assert torch.equal(embeddings, module.encoder(batch.images))
    assert not torch.equal(codes[1], embeddings)  # the draw that the bound is of
    assert not torch.equal(codes[2], codes[1])


@pytest.mark.parametrize(
    ("loss", "log_likelihood"),
    [
        (nn.BCELoss(), lambda shown: Bernoulli(shown, validate_args=False)),
        (GaussianLikelihoodLoss(std=0.2), lambda shown: Normal(shown, 0.2)),
    ],
)
def test_the_bound_on_the_evidence_is_what_torch_distributions_make_of_it(loss, log_likelihood):
    torch.manual_seed(0)
    module = _small(beta=0.5, loss=loss)
    trainer = _fit(module, data=_data())
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    bounds, codes = [], []
    module.eval()
    module.decoder.register_forward_pre_hook(lambda _, inputs: codes.append(inputs[0]))
    with torch.no_grad():
        for batch in trainer.datamodule.val_dataloader()[0]:
            module.validation_step(batch, 0)
            mean, pixels = module.encoder(batch.images), module.pixels(batch.images).clamp(0, 1)
            posterior = Normal(mean, (0.5 * module.log_variance(mean)).exp())
            divergence = kl_divergence(posterior, Normal(0.0, 1.0)).sum(dim=1)
            told = log_likelihood(module.decoder(codes[1])).log_prob(pixels).flatten(1).sum(dim=1)
            bounds.append(told - divergence)
            again = list(codes)
            module.validation_step(batch, 0)
            assert torch.equal(codes[-1], again[1])
    assert len(torch.cat(bounds)) == 100
    assert logged["val/elbo"] == pytest.approx(torch.cat(bounds).mean().item(), rel=1e-5)
    expected = (-torch.cat(bounds).mean() - 0.5 * divergence.mean()) / 64  # beta = .5 of the divergence
    assert logged["val/loss"] == pytest.approx(expected.item(), rel=1e-5)


def test_a_bound_is_of_likelihoods_only():
    assert "val/elbo" not in _fit(_small(beta=1.0)).callback_metrics
    assert "val/elbo" not in _fit(_small(loss=nn.BCELoss())).callback_metrics


def test_a_heavy_divergence_brings_the_codes_to_the_unit_normal():
    torch.manual_seed(0)
    sizes = []
    for beta in (0.0, 300.0):
        module = _small(beta=beta, optimizer=lambda p: torch.optim.Adam(p, lr=0.01))
        trainer = _fit(module, epochs=4)
        with torch.no_grad():
            codes = module.encoder(next(iter(trainer.datamodule.val_dataloader()[0])).images)
        sizes.append((codes.square().mean().item(), module.log_variance(codes).exp().mean().item()))
    (_, free), (mean, variance) = sizes
    assert mean < 0.1
    assert variance == pytest.approx(1, abs=0.2)
    assert free < variance  # without the divergence, noise only does harm


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: MLPEncoder(0), "embedding_dim=0"),
        (lambda: ConvEncoder(0), "embedding_dim=0"),
        (lambda: StridedConvEncoder(0), "embedding_dim=0"),
        (lambda: LinearEncoder(-1), "embedding_dim=-1"),
        (lambda: _small(beta=-1.0), "beta=-1.0"),
        (lambda: _small(noise_std=-1.0), "noise_std=-1.0"),
        (lambda: _small(masking=1.0), "masking=1.0"),
        (lambda: GaussianLikelihoodLoss(std=0.0), "std=0.0"),
        (lambda: _small(loss=nn.BCEWithLogitsLoss()), "BCEWithLogitsLoss takes logits"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(make, told):
    with pytest.raises(UserError, match=told):
        make()


def test_bce_without_a_sigmoid_is_refused_when_training_starts():
    module = AutoencoderModule(MLPEncoder(4), MLPDecoder(sigmoid=False), loss=nn.BCELoss())
    with pytest.raises(UserError, match="or a decoder with sigmoid"):
        _fit(module)


class _OneSize(Decoder):
    def _build(self, image_shape):
        self.layer = nn.LazyLinear(25)

    def _decode(self, embeddings):
        return self.layer(embeddings).view(-1, 1, 5, 5)


def test_a_decoder_that_gives_other_images_is_refused_when_training_starts():
    with pytest.raises(UserError, match=r"_OneSize gives images of shape \(1, 5, 5\), the data's are \(1, 8, 8\)"):
        _fit(AutoencoderModule(MLPEncoder(4), _OneSize(sigmoid=True)))
    built = MLPDecoder()
    built.build((3, 8, 8))
    with pytest.raises(UserError, match=r"gives images of shape \(3, 8, 8\)"):
        _fit(AutoencoderModule(MLPEncoder(4), built))


KEYS = (
    "--model=dml.modules.AutoencoderModule",
    "--model.encoder=dml.encoders.StridedConvEncoder",
    "--model.encoder.embedding_dim=6",
    "--model.encoder.channels=[8]",
    "--model.decoder=dml.decoders.ConvDecoder",
    "--model.decoder.channels=[8,8]",
    "--model.loss=torch.nn.BCELoss",
    "--model.noise_std=0.2",
    "--model.beta=0.1",
    "--trainer.max_epochs=2",
    "--trainer.accelerator=cpu",
    "--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}",
)


@pytest.fixture
def dml(tmp_path, monkeypatch, capfd):
    """Return a callable that runs `dml` in an empty folder and gives exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DML_CACHE", str(tmp_path / "cache"))

    def run(*words):
        code = main([str(word) for word in words])
        return code, *capfd.readouterr()

    return run


def test_every_verb_takes_an_autoencoder_and_a_head_takes_its_encoder(dml):
    code, out, err = dml("fit", "--name", "first", *KEYS)
    assert code == 0, err
    run = Path("runs/first")
    scores = runs.read_json(run / "scores.json")["val"]
    assert f"{scores['loss']:.4f}" in out
    assert {"mse", "loss", "knn_accuracy"} <= set(scores)
    assert runs.read_json(run / "protocol.json")["best_checkpoint_chosen_by"] == "val/mse"
    assert (run / "pictures" / "reconstructions.png").stat().st_size > 1000
    assert dml("validate", "--run", "first")[0] == 0
    assert runs.read_json(run / "scores.json")["val"]["mse"] == pytest.approx(scores["mse"])
    assert dml("test", "--run", "first")[0] == 0
    assert runs.read_json(run / "scores.json")["test"]["mse"] == pytest.approx(scores["mse"], rel=0.3)
    assert dml("evaluate", "--run", "first")[0] == 0
    assert dml("predict", "--run", "first", "--output", "codes.npz")[0] == 0
    encoder = pretrained_encoder("first")
    assert materialize(encoder, (1, 8, 8)) == (6,)
    data = ImageData(batch_size=100)
    data.setup()
    with torch.no_grad():
        codes = torch.cat([encoder.eval()(batch.images) for batch in data.predict_dataloader()])
    np.testing.assert_allclose(np.load("codes.npz")["embeddings"], codes.numpy(), atol=1e-5)
    _a_head_takes_its_encoder(dml)


def _a_head_takes_its_encoder(dml):
    head = ("--model=dml.modules.ClassifierModule", "--model.head=dml.heads.LinearHead", "--model.head.num_classes=10")
    encoder = ("--model.encoder=dml.encoders.pretrained_encoder", "--model.encoder.run=first")
    frozen = ("--model.freeze_encoder=true", "--trainer.max_epochs=1", "--trainer.accelerator=cpu")
    code, _, err = dml(
        "fit",
        "--name",
        "head",
        *head,
        *encoder,
        *frozen,
        "--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}",
    )
    assert code == 0, err
    best = torch.load("runs/first/checkpoints/best.ckpt", weights_only=True)["state_dict"]
    after = torch.load("runs/head/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    names = [name for name in after if name.startswith("encoder.")]
    assert names
    assert all(torch.equal(best[name], after[name]) for name in names)


def test_a_resumed_run_draws_what_the_whole_run_drew(dml, monkeypatch):
    assert dml("fit", "--name", "whole", *KEYS)[0] == 0

    def press(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 6:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(GracefulInterrupt, "on_train_batch_start", press)
        assert dml("fit", "--name", "halved", *KEYS)[0] == 130
    assert dml("fit", "--name", "halved", "--ckpt_path", "last")[0] == 0
    whole, halved = (
        torch.load(f"runs/{name}/checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("whole", "halved")
    )
    assert all(torch.equal(whole[name], halved[name]) for name in whole)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (("--model.encoder.embedding_dim=0",), "embedding_dim=0"),
        (("--model.decoder.channels=[]",), "no channels"),
        (("--model.decoder.sigmoid=false",), "or a decoder with sigmoid"),
        (("--model.loss=torch.nn.BCEWithLogitsLoss",), "takes logits"),
    ],
)
def test_mistakes_end_in_one_line(dml, keys, told):
    code, _, err = dml("fit", *KEYS, *keys)
    assert code == 2, err
    (line,) = [line for line in err.splitlines() if line.startswith("dml: ")]
    assert told in line
    assert not Path("runs").exists()


def test_bce_refuses_numbers_that_are_no_pixels():
    data = ImageData(source=Points("blobs", per_class=30), batch_size=30)
    data.setup()
    data.pixels.images[data.parts.train[0]] = 300.0  # points lie on the scale of pixels, but may lie beyond its ends
    with pytest.raises(UserError, match=r"BCELoss needs values within 0\.\.1 and the pixels reach"):
        _fit(AutoencoderModule(MLPEncoder(2), MLPDecoder(), loss=nn.BCELoss()), data=data)
