"""Writes the artefact of a run: a folder that gets its name once it is complete and verified."""

import hashlib
import json
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple, final

import numpy as np

from dml import __version__, runs
from dml.data import ImageData
from dml.data.sources.bounds import leads_outside
from dml.embeddings import spread_positions
from dml.encoders import LoRAEncoder, encoder_hash, pretrained_encoder, settle
from dml.errors import UserError, reason_of
from dml.export.card import Facts, model_card
from dml.export.golden import Queries, golden_count, write_queries
from dml.export.graph import OPSET, PixelEncoder, write_onnx
from dml.export.parts import Rows, ask, compare_recall, compare_rows, embed_parts, pixels_of
from dml.export.recall import recall_at_1
from dml.export.verify import Check
from dml.search import artefact as names
from dml.search.embedder import RunEmbedder
from dml.search.store import About, Row, write_store


@final
class Exported(NamedTuple):
    """What was written: the folder, its size in bytes, what was checked, and why there is no threshold, if so."""

    folder: Path
    bytes: int
    checks: list[Check]
    without_threshold: str


def export_run(
    run: str | Path,
    data: ImageData,
    output: Path,
    checkpoint: Literal["best", "last"] = "best",
    runs_dir: str = "runs",
    overwrite: bool = False,
) -> Exported:
    """Write a run's encoder, its index and the means to verify them into a folder, whole or not at all.

    Args:
        run: The run's folder or name.
        data: Its images.
        output: The folder.
        checkpoint: Which weights.
        runs_dir: The folder of all runs.
        overwrite: Whether an existing artefact is replaced.

    Raises:
        UserError: The run has no encoder of images, the encoder cannot be written as ONNX, what ONNX gives is not what
            torch gives, the folder exists, a package is missing, or the disk is full.
    """
    check_output(output, overwrite)
    need_packages()
    embedder = RunEmbedder(str(run), checkpoint, runs_dir, device="cpu", workers=0)
    data.setup()
    if data.image_shape != embedder.image_shape:
        told = f"run {embedder.folder} is of images of {embedder.image_shape}, these data are of {data.image_shape}"
        raise UserError(f"{told}: leave data.image_size and data.channels as the run has them")
    if data.catalog.values is not None:
        raise UserError(f"run {embedder.folder} has images that are numbers, not bytes: there is nothing to decode")
    encoder = pretrained_encoder(str(embedder.folder), checkpoint, runs_dir).eval()
    settle(encoder, embedder.image_shape)
    identity = encoder_hash(encoder)
    if isinstance(encoder, LoRAEncoder):
        encoder = encoder.merged()
    network = PixelEncoder(encoder, *data.scale).float().eval()
    content = write_onnx(network, embedder.image_shape)
    with _new_folder(output, overwrite) as folder:
        runs.write_bytes(folder / names.ENCODER, content)
        safetensors: Any = import_module("safetensors.torch")
        weights = {name: value.detach().contiguous().clone() for name, value in encoder.state_dict().items()}
        runs.write_bytes(folder / names.WEIGHTS, safetensors.save(weights))
        queries, references = embed_parts(network, content, data)
        checks, error = compare_rows(queries, references, embedder.metric)
        if failed := [check for check in checks if not check.holds]:
            raise UserError(f"what ONNX gives is not what torch gives: {failed[0].name}: {failed[0].told}")
        asked = ask(queries, references, embedder.metric)
        checks.append(compare_recall(queries, references, asked, embedder.metric, error))
        if not checks[-1].holds:
            raise UserError(f"what ONNX gives is not what torch gives: {checks[-1].name}: {checks[-1].told}")
        write_queries(folder / names.VALIDATION, asked)
        some = spread_positions(queries.labels, golden_count(embedder.image_shape))
        images = pixels_of(data, queries.ids[some])
        write_queries(folder / names.GOLDEN, asked.take(some), images=images, embeddings=queries.torch[some])
        runs.write_json(folder / names.CLASSES, data.class_names)
        _write_index(folder / names.INDEX, embedder, data, references)
        calibration, absent = _copy_records(embedder.folder, folder, identity, embedder.metric)
        about = _about(embedder, network, data, queries, asked) | {"encoder_hash": identity}
        _finish(folder, embedder.folder, about, calibration, absent, len(references.ids))
        size = sum(file.stat().st_size for file in folder.iterdir())
    return Exported(output, size, checks, absent)


def check_output(output: Path, overwrite: bool) -> None:
    """Refuse a folder that exists, unless an artefact may be replaced.

    Raises:
        UserError: It exists.
    """
    if not output.exists() and not output.is_symlink():
        return
    if not overwrite:
        raise UserError(f"{output} exists: choose another --out, or add --overwrite to replace an artefact")
    if not names.is_artefact(output):
        raise UserError(f"{output} is not an artefact (it holds no {names.MANIFEST}): choose another --out")


def need_packages() -> None:
    """Refuse to start without the packages of the extra.

    Raises:
        UserError: One is missing.
    """
    for package in ("onnx", "onnxruntime", "safetensors"):
        try:
            import_module(package)
        except ImportError as error:
            raise UserError(f"{package} is not installed ({reason_of(error)}): `pip install 'dml[onnx]'`") from error


@contextmanager
def _new_folder(output: Path, overwrite: bool) -> Iterator[Path]:
    """Give a folder next to the output that takes its name on leaving, and is removed if an error ends it."""
    full = f"cannot write {output}"
    mend = "free some space or choose another place"
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        begun = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))
    except OSError as error:
        raise UserError(f"{full} ({reason_of(error)}): {mend}") from error
    folder = begun / "new"
    try:
        folder.mkdir()
        yield folder
        check_output(output, overwrite)
        if output.exists():
            output.rename(begun / "old")
        folder.rename(output)
    except OSError as error:
        raise UserError(f"{full} ({reason_of(error)}): {mend}") from error
    finally:
        if (begun / "old").exists() and not output.exists():
            (begun / "old").rename(output)
        shutil.rmtree(begun, ignore_errors=True)


def _write_index(path: Path, embedder: RunEmbedder, data: ImageData, references: Rows) -> None:
    """Write the references as a store; its root is a name, not a place on this machine."""
    root = Path(str(data.describe()["source"])).name
    size = embedder.image_shape[1], embedder.image_shape[2]
    rows = [
        Row(root, _inside(name, at), data.class_names[label], "", size, at)
        for at, (name, label) in enumerate(zip(references.names.tolist(), references.labels.tolist(), strict=True))
    ]
    about = About(embedder.weights, embedder.metric, embedder.folder.name, embedder.image_shape, next_id=len(rows))
    write_store(path, about, rows, [references.onnx], references.onnx.shape[1])


def _inside(name: str, at: int) -> str:
    """Return a name that does not lead out of its folder, as an index has them."""
    return f"{at:06d}-{PurePosixPath(name).name}" if leads_outside(name) else name


def _copy_records(run: Path, folder: Path, encoder: str, metric: str) -> tuple[dict[str, Any] | None, str]:
    """Copy what the run recorded; return its calibration, or the reason it is left out."""
    for name in (runs.PROTOCOL, runs.SCORES):
        if (run / name).is_file():
            runs.write_bytes(folder / name, runs.read_bytes(run / name))
    if not (run / names.CALIBRATION).is_file():
        return None, "the run was not calibrated (`dml calibrate`)"
    found = runs.read_json(run / names.CALIBRATION)
    if not isinstance(found, dict) or not isinstance(found.get("threshold"), int | float):
        return None, f"{run / names.CALIBRATION} holds none"
    if (found.get("encoder_hash"), found.get("metric")) != (encoder, metric):
        return None, "the run was calibrated with other weights or in another metric (`dml calibrate` again)"
    runs.write_json(folder / names.CALIBRATION, found)
    return found, ""


def _about(
    embedder: RunEmbedder, network: PixelEncoder, data: ImageData, queries: Rows, asked: Queries
) -> dict[str, Any]:
    """Return what the manifest says besides the checksums."""
    mean, std = data.scale
    recall = recall_at_1(asked.hits)
    versions = {each: str(import_module(each).__version__) for each in ("torch", "onnx", "onnxruntime", "numpy")}
    return {
        "format": names.FORMAT,
        "run": embedder.folder.name,
        "weights": embedder.weights,
        "metric": embedder.metric,
        "image_shape": list(embedder.image_shape),
        "embedding_dim": int(queries.torch.shape[1]),
        "normalize": bool(network.encoder.normalize),
        "mean": mean,
        "std": std,
        "opset": OPSET,
        "parameters": sum(parameter.numel() for parameter in network.encoder.parameters()),
        "source": data.describe()["source"],
        "split_hash": data.split_hash,
        "validation": {"queries": len(asked.hits), "recall_at_1": recall if np.isfinite(recall) else None},
        "versions": {"dml": __version__, "python": platform.python_version()} | versions,
    }


def _finish(
    folder: Path, run: Path, about: dict[str, Any], calibration: dict[str, Any] | None, absent: str, index_rows: int
) -> None:
    """Write the card, then the manifest with the checksums of all files."""
    model = runs.read_recipe(run).get("model")
    arguments = model.get("init_args", {}) if isinstance(model, dict) else {}
    protocol, scores = (
        json.loads((folder / name).read_text()) if (folder / name).is_file() else {}
        for name in (runs.PROTOCOL, runs.SCORES)
    )
    size = (folder / names.ENCODER).stat().st_size
    facts = Facts(run.name, arguments.get("encoder"), about, protocol, scores, calibration, absent, size, index_rows)
    runs.write_bytes(folder / names.CARD, model_card(facts).encode(errors="backslashreplace"))
    files = {}
    for file in sorted(folder.iterdir()):
        content = file.read_bytes()
        files[file.name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    runs.write_json(folder / names.MANIFEST, about | {"files": files})
