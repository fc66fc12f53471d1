"""A run from Python: it embeds files, arrays and Pillow's images alike, and is the distance of a k-NN classifier."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone

import dml
from dml.cli import main
from dml.encoders import FlattenEncoder
from dml.errors import UserError
from dml.losses import TripletLoss
from dml.modules import EmbeddingModule
from dml.neighbors import KNNClassifier


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number, name in enumerate(("daisy", "iris")):
        (folder / "photos" / name).mkdir(parents=True)
        for image in range(12):
            pixels = rng.integers(0, 90, (20, 24, 3)) + 120 * number
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "photos" / name / f"{image}.png")
    keys = ("--data.image_size=16", "--data.batch_size=12", "--trainer.max_epochs=1", "--trainer.accelerator=cpu")
    quick = (
        "--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}",
        "--evaluation.metric=cosine",
        "--data.cache=false",
    )
    words = ["fit", "--data.root", str(folder / "photos"), "--runs_dir", str(folder), "--name", "first", *keys, *quick]
    assert main(words) == 0
    return folder


def test_all_kinds_of_images_give_the_same_embeddings(photos):
    run = dml.load("first", runs_dir=str(photos), device="cpu")
    paths = sorted((photos / "photos").rglob("*.png"))[:5]
    opened = [Image.open(path).convert("RGB") for path in paths]
    rows = run(paths)
    assert rows.shape == (5, 64)
    np.testing.assert_array_equal(run(opened), rows)
    np.testing.assert_array_equal(run([np.asarray(image) for image in opened]), rows)
    np.testing.assert_array_equal(run(np.stack([np.asarray(image) for image in opened])), rows)
    with torch.no_grad():
        own = run.encoder(torch.stack([run.transform(image) for image in opened]))
    np.testing.assert_allclose(own.numpy(), rows, rtol=1e-4, atol=1e-6)
    assert (run.class_names, run.metric, run.image_shape) == (["daisy", "iris"], "cosine", (3, 16, 16))


def test_what_is_no_image_is_named(photos):
    run = dml.load("first", runs_dir=str(photos), device="cpu")
    with pytest.raises(UserError, match="image 1 is not an image"):
        run([np.zeros((8, 8), np.uint8), "not_a_path_among_arrays"])
    with pytest.raises(UserError, match="no images"):
        run([])


def test_a_learnt_distance_is_a_classifiers_metric(photos):
    run = dml.load("first", runs_dir=str(photos), device="cpu")
    paths = sorted((photos / "photos").rglob("*.png"))
    images, labels = [np.asarray(Image.open(path)) for path in paths], [path.parent.name for path in paths]
    learnt = KNNClassifier(k=3, metric=run).fit(images, labels)
    rows = run(images)
    plain = KNNClassifier(k=3, metric="cosine").fit(rows, labels)
    np.testing.assert_array_equal(learnt.predict(images), plain.predict(rows))
    np.testing.assert_array_equal(learnt.kneighbors(images)[0], plain.kneighbors(rows)[0])
    assert clone(learnt).fit(images, labels).score(images, labels) == plain.score(rows, labels)


def test_an_encoder_is_a_distance_too():
    images, labels = torch.rand(20, 1, 4, 4), np.arange(20) % 2
    by_encoder = KNNClassifier(k=1, metric=FlattenEncoder()).fit(images, labels)
    np.testing.assert_array_equal(
        by_encoder.kneighbors(images)[1],
        KNNClassifier(k=1).fit(images.flatten(1), labels).kneighbors(images.flatten(1))[1],
    )


def test_a_checkpoint_alone_says_what_to_call():
    with pytest.raises(UserError, match=r"last.ckpt holds weights, not the module: call dml.load\(RUN\)"):
        EmbeddingModule.load_from_checkpoint("last.ckpt")


def test_a_plain_network_is_an_encoder():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(3))
    module = EmbeddingModule(network, TripletLoss(0.2))
    module.build((1, 8, 8))
    assert module(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
