"""From a run to an artefact and its verification by the front door, and what goes wrong on the way."""

import errno
import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dml import runs
from dml.cli import main
from dml.encoders import pretrained_encoder
from dml.export import verify_artefact
from dml.search import Searcher, Store
from dml.search.artefact import Artefact
from dml.search.embedder import RunEmbedder
from dml.search.onnx_embedder import OnnxEmbedder

ARTEFACT = Path("artefact")


def _record(name, content):
    """Put a file into the artefact and into its manifest, as someone would who makes one up."""
    (ARTEFACT / name).write_bytes(content)
    manifest = json.loads((ARTEFACT / "manifest.json").read_text())
    manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (ARTEFACT / "manifest.json").write_text(json.dumps(manifest))


def test_the_folder_holds_what_it_should(place):
    files = {path.name for path in ARTEFACT.iterdir()}
    assert files == {
        *("encoder.onnx", "weights.safetensors", "classes.json", "index.npz", "calibration.json", "protocol.json"),
        *("scores.json", "golden.npz", "validation.npz", "MODEL_CARD.md", "manifest.json"),
    }
    manifest = json.loads((ARTEFACT / "manifest.json").read_text())
    for name in files - {"manifest.json"}:
        assert manifest["files"][name]["sha256"] == hashlib.sha256((ARTEFACT / name).read_bytes()).hexdigest()
    assert json.loads((ARTEFACT / "classes.json").read_text()) == [str(digit) for digit in range(10)]
    scores = runs.read_scores(Path("runs/first/scores.json"))
    assert manifest["validation"]["recall_at_1"] == pytest.approx(scores["val"]["recall_at_1"], abs=1e-6)
    safetensors = pytest.importorskip("safetensors.torch")
    encoder = pretrained_encoder("first")
    weights = safetensors.load_file(ARTEFACT / "weights.safetensors")
    assert weights.keys() == encoder.state_dict().keys()
    assert all(torch.equal(value, weights[name]) for name, value in encoder.state_dict().items())
    store = Store(ARTEFACT / "index.npz")
    assert len(store) == 120
    assert store.about.metric == "cosine"
    assert str(place) not in (ARTEFACT / "index.npz").read_bytes().decode("latin-1")
    card = (ARTEFACT / "MODEL_CARD.md").read_text()
    low, high = scores["intervals"]["val"]["recall_at_1"]
    assert f"| val | recall_at_1 | {scores['val']['recall_at_1']:.4f} | [{low:.4f}, {high:.4f}] |" in card
    assert "120 training images of 10 classes" in card
    assert f"{json.loads(Path('runs/first/calibration.json').read_text())['threshold']}: what is nearer" in card


def test_verify_computes_everything_anew(dml):
    code, out, err = dml("verify", ARTEFACT)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == "checksums: 10 files are as they were exported"
    assert lines[1].startswith("golden vectors: least cosine of 40: ")
    assert lines[2].startswith("recall@1 of 40 images inside: ONNX 0.")
    assert lines[3].startswith("recall@1 of all 40 validation images: ONNX 0.")
    Path("photos").rename("moved")
    assert len(dml("verify", ARTEFACT)[1].splitlines()) == 3
    code, out, err = dml("verify", ARTEFACT, "--data.root", "moved")
    assert (code, len(out.splitlines())) == (0, 4)
    Path("wrapped").mkdir()
    Path("moved").rename("wrapped/photos")
    assert len(dml("verify", ARTEFACT, "--data.root", "wrapped")[1].splitlines()) == 4


def test_validation_images_that_changed_or_are_gone_are_told(dml):
    names = np.load(ARTEFACT / "validation.npz")["names"].tolist()
    for name in names:  # every image becomes one of another class
        other = next(each for each in names if each[0] != name[0])
        shutil.copy(Path("photos") / other, Path("changed.png"))
        Path("changed.png").replace(Path("photos") / name)
    code, _, err = dml("verify", ARTEFACT)
    assert code == 1
    assert "queries differ, first" in err
    assert len(err.splitlines()) == 1
    (Path("photos") / names[3]).unlink()
    code, _, err = dml("verify", ARTEFACT)
    assert code == 1
    assert f"1 cannot be read below photos, first '{names[3]}' (No such file or directory)" in err


@pytest.mark.parametrize("name", ["encoder.onnx", "index.npz", "golden.npz", "MODEL_CARD.md"])
def test_a_damaged_file_is_named(dml, name):
    content = bytearray((ARTEFACT / name).read_bytes())
    content[len(content) // 2] ^= 1
    (ARTEFACT / name).write_bytes(content)
    code, out, err = dml("verify", ARTEFACT)
    assert (code, out) == (1, "")
    assert err == f"dml: checksums: artefact/{name} is damaged or not the file that was exported: its SHA-256 differs\n"


def test_a_missing_file_and_a_damaged_encoder_are_told_by_search_too(dml):
    image = next(Path("photos").rglob("*.png"))
    (ARTEFACT / "encoder.onnx").write_bytes(b"other")
    code, _, err = dml("search", ARTEFACT, image)
    assert code == 2
    assert "SHA-256 differs" in err
    (ARTEFACT / "encoder.onnx").unlink()
    code, _, err = dml("search", ARTEFACT, image)
    assert code == 2
    assert "encoder.onnx cannot be read (No such file or directory)" in err
    (ARTEFACT / "manifest.json").write_text('{"format": 1}')
    for verb in (("verify", ARTEFACT), ("search", ARTEFACT, image)):
        code, _, err = dml(*verb)
        assert code == 2
        assert "manifest.json is not the manifest of an artefact (there is no 'image_shape')" in err
    (ARTEFACT / "manifest.json").unlink()
    code, _, err = dml("verify", ARTEFACT)
    assert code == 2
    assert "artefact is not an artefact: it holds no manifest.json" in err


def test_a_foreign_network_is_refused(dml):
    onnx = pytest.importorskip("onnx")
    kind = onnx.TensorProto.FLOAT
    ends = [onnx.helper.make_tensor_value_info(name, kind, ["N", 3]) for name in ("x", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "other", ends[:1], ends[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    _record("encoder.onnx", model.SerializeToString())
    code, _, err = dml("verify", ARTEFACT)
    assert code == 1
    assert "encoder.onnx is not the network of this artefact" in err
    _record("encoder.onnx", b"no network at all")
    code, _, err = dml("search", ARTEFACT, next(Path("photos").rglob("*.png")))
    assert code == 2
    assert "is not a network that onnxruntime can run" in err
    assert len(err.splitlines()) == 1


def test_vectors_and_scores_of_another_encoder_fail(dml):
    golden = dict(np.load(ARTEFACT / "golden.npz"))
    golden["embeddings"] = golden["embeddings"][::-1]
    golden["hits"] = 1 - golden["hits"]
    runs.write_arrays(Path("golden.npz"), golden)
    _record("golden.npz", Path("golden.npz").read_bytes())
    code, _, err = dml("verify", ARTEFACT)
    assert code == 1
    assert err.splitlines()[0].startswith("dml: golden vectors: least cosine of 40: ")
    assert "above 0.9999 is asked for" in err


def test_search_finds_what_the_run_finds(dml):
    images = sorted(Path("photos").rglob("*.png"))[::9]
    found = Searcher.load("artefact")(images, k=3)
    embedder = RunEmbedder("first", device="cpu", workers=0)
    wanted = Searcher(Store(ARTEFACT / "index.npz"), embedder)(images, k=3)
    np.testing.assert_array_equal(found.positions, wanted.positions)
    np.testing.assert_allclose(found.distances, wanted.distances, atol=1e-6)
    code, out, err = dml("search", ARTEFACT, *images[:2], "-k", "2", "--json", "--threshold", "9")
    told = json.loads(out)
    assert [query["matches"][0]["name"] for query in told["queries"]] == [found.matches(at)[0].name for at in (0, 1)]
    assert told["queries"][0]["matches"][0]["root"] == "photos"
    threshold = json.loads((ARTEFACT / "calibration.json").read_text())["threshold"]
    assert json.loads(dml("search", ARTEFACT, images[0], "--json")[1])["threshold"] == threshold
    code, _, err = dml("search", ARTEFACT, images[0], "--run", "first")
    assert code == 2
    assert "leave --run, --ckpt_path and --device out" in err


def _pictures(folder):
    """Write one picture in many ways, each of which is decoded in another."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 31, 3), np.uint8)
    picture = Image.fromarray(pixels)
    ways = {"plain.png": picture, "photo.jpg": picture, "grey.png": picture.convert("L"), "wide.bmp": picture}
    ways |= {"palette.png": picture.convert("P"), "palette.gif": picture.convert("P"), "lossless.webp": picture}
    ways |= {"clear.png": Image.merge("RGBA", [*picture.split(), picture.convert("L")])}
    ways |= {"deep.png": Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257), "ink.tif": picture.convert("CMYK")}
    for name, image in ways.items():
        image.save(folder / name)
    turned = Image.Exif()
    turned[274] = 6
    picture.save(folder / "turned.jpg", exif=turned)
    return sorted(path for path in folder.iterdir() if path.suffix != ".zip")


def test_pictures_of_every_kind_are_embedded_as_torch_does(place):
    Path("ways").mkdir()
    images = _pictures(Path("ways"))
    assert len(images) == 11
    ours, torchs = OnnxEmbedder("artefact", threads=1)(images), RunEmbedder("first", device="cpu", workers=0)(images)
    np.testing.assert_allclose(ours, torchs, atol=1e-5)
    assert len(np.unique(ours.round(4), axis=0)) > 6
    many = [images[at % 11] for at in range(150)]  # several batches
    for at in range(11, 150):
        many[at] = Path("ways") / f"{at}{many[at].suffix}"
        shutil.copy(images[at % 11], many[at])
    np.testing.assert_allclose(OnnxEmbedder("artefact", threads=2)(many), ours[np.arange(150) % 11], atol=1e-5)


def test_an_unreadable_query_is_named_and_the_others_answered(dml):
    Path("bad.png").write_bytes(b"no image")
    good = next(Path("photos").rglob("*.png"))
    code, out, err = dml("search", ARTEFACT, "bad.png", good, "--json")
    assert code == 1
    assert len(json.loads(out)["queries"]) == 1
    assert "'bad.png' cannot be read" in err


def test_what_exists_is_kept(dml):
    before = {path.name: path.read_bytes() for path in ARTEFACT.iterdir()}
    code, _, err = dml("export", "first", "--out", ARTEFACT)
    assert code == 2
    assert "artefact exists: choose another --out, or add --overwrite" in err
    assert dml("export", "first", "--out", ARTEFACT, "--overwrite")[0] == 0
    after = {path.name: path.read_bytes() for path in ARTEFACT.iterdir()}
    assert before == after
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("years of work")
    code, _, err = dml("export", "first", "--out", "mine", "--overwrite")
    assert code == 2
    assert "mine is not an artefact" in err
    assert Path("mine/thesis.txt").read_text() == "years of work"


def test_a_full_disk_or_an_interrupt_leaves_nothing(dml, monkeypatch):
    from dml.export import write

    before = sorted(path.name for path in Path().iterdir())
    for error, code in ((OSError(errno.ENOSPC, "No space left on device"), 2), (KeyboardInterrupt(), 130)):

        def fail(*_, error=error):
            raise error

        monkeypatch.setattr(write, "_write_index", fail)
        found, _, err = dml("export", "first", "--out", "deep/er/artefact2")
        assert found == code
        assert len(err.splitlines()) == 1
        shutil.rmtree("deep")
        assert dml("export", "first", "--out", ARTEFACT, "--overwrite")[0] == code
        assert main(["verify", str(ARTEFACT)]) == 0
        assert sorted(path.name for path in Path().iterdir()) == before


def test_what_cannot_be_exported_is_told_in_one_line(dml, monkeypatch):
    for words, told in (
        (("gone",), "no run 'gone'"),
        (("first", "--model.encoder", "x"), "export takes no --model.encoder"),
        (("first", "--config", "x.yaml"), "export takes no --config"),
        (("first", "--data.image_size", "9"), "leave data.image_size"),
    ):
        code, _, err = dml("export", *words, "--out", "other")
        assert (code, len(err.splitlines())) == (2, 1)
        assert told in err
        assert not Path("other").exists()
    monkeypatch.setitem(sys.modules, "onnx", None)
    code, _, err = dml("export", "first", "--out", "other")
    assert code == 2
    assert "onnx is not installed" in err
    assert "`pip install 'dml[onnx]'`" in err


def test_an_encoder_whose_onnx_gives_something_else_is_not_exported(dml, monkeypatch):
    from dml.export import parts

    monkeypatch.setattr(parts, "run_session", lambda session, images: np.ones((len(images), 8), np.float32))
    code, _, err = dml("export", "first", "--out", "other")
    assert code == 2
    assert "what ONNX gives is not what torch gives: embeddings: least cosine of 160" in err
    assert not Path("other").exists()


def test_classes_nobody_trained_on_and_other_modules(dml):
    split = ("--data.split", "dml.data.ClassDisjointSplit", "--data.split.val=0.3", "--data.split.test=0.2")
    keys = ("--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--data.root=photos")
    disjoint = (
        "--data.classes_per_batch=null",
        "--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}",
    )
    code, _, err = dml("fit", "--name", "unseen", *keys, *split, *disjoint)
    assert code == 0, err
    code, out, err = dml("export", "unseen", "--out", "unseen_artefact")
    assert code == 0, err
    assert "no threshold: the run was not calibrated" in out
    recall = runs.read_scores(Path("runs/unseen/scores.json"))["val"]["recall_at_1"]
    told = json.loads(Path("unseen_artefact/manifest.json").read_text())
    assert told["validation"]["recall_at_1"] == pytest.approx(recall, abs=1e-6)
    checks = verify_artefact("unseen_artefact")
    assert len(checks) == 4
    assert all(check.holds for check in checks)
    assert (np.load("unseen_artefact/validation.npz")["own"] >= 0).all()
    card = Path("unseen_artefact/MODEL_CARD.md").read_text()
    assert "were not trained on" in card
    assert "None: the run was not calibrated" in card
    assert Artefact.load("unseen_artefact").threshold is None
