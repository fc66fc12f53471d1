"""Writes the model card of an artefact: what it is, what it was trained on, how good it is, how to use it."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, final

from dml.errors import printable

_SCORES = ("recall_at_1", "recall_at_5", "r_precision", "map_at_r", "knn_accuracy", "accuracy")


@final
class Facts(NamedTuple):
    """What a card reports.

    Attributes:
        name: Of the run.
        encoder: The recipe's block, `{"class_path": …, "init_args": …}`.
        manifest: Of the artefact.
        protocol: Of the run.
        scores: Of the run, with intervals; empty where it has none.
        calibration: Of the run; None where it was not calibrated.
        without_threshold: Why there is none.
        bytes: Of the encoder's file.
        index_rows: Images of the index.
    """

    name: str
    encoder: Any
    manifest: Mapping[str, Any]
    protocol: Mapping[str, Any]
    scores: Mapping[str, Any]
    calibration: Mapping[str, Any] | None
    without_threshold: str
    bytes: int
    index_rows: int


def model_card(facts: Facts) -> str:
    """Return the card as Markdown; names from a recipe or a folder cannot act on a terminal that shows it."""
    sections = (_head(facts), _training(facts), _scores(facts), _images(facts), _threshold(facts), _use(facts))
    limits = (
        "## Limits\n\nIt ranks images by likeness of the kind its classes taught; for other kinds of images, and for "
        "classes unlike those it was trained on, the scores above say nothing. An image of a class that is not in the "
        "index still has a nearest one: use a threshold. On another processor embeddings may differ in the last digits."
    )
    return printable("\n\n".join([*sections, limits]) + "\n", lines=True)


def _head(facts: Facts) -> str:
    about = facts.manifest
    norm = "of length one" if about["normalize"] else "of any length"
    distance = {"l2": "Euclidean distance", "cosine": "one minus the cosine"}[about["metric"]]
    return (
        f"# {facts.name}\n\nAn encoder of images, exported by dml {about['versions']['dml']}: an image becomes "
        f"{about['embedding_dim']} numbers ({norm}), and images are alike where these are near: {distance} "
        f"(metric `{about['metric']}`).\n\n"
        f"- encoder: `{json.dumps(facts.encoder, ensure_ascii=False)}`\n"
        f"- {about['parameters']:,} parameters, {facts.bytes / 2**20:.1f} MiB as ONNX (opset {about['opset']})\n"
        f"- index: {facts.index_rows:,} images, searched exactly"
    )


def _training(facts: Facts) -> str:
    data = facts.protocol.get("data", {})
    trained, held = data.get("trained_on", {}), data.get("held_back_images", {})
    lines = [
        "## Training",
        "",
        f"- source: {data.get('source', 'not recorded')}",
        f"- {trained.get('images', '?')} training images of {trained.get('classes', '?')} classes; held back: "
        f"{held.get('val', '?')} for validation, {held.get('test', '?')} for test",
        f"- split: {data.get('split_hash', 'not recorded')}",
        f"- classes of the held-back images {'were not' if data.get('class_disjoint') else 'were'} trained on",
        f"- best checkpoint chosen by {facts.protocol.get('best_checkpoint_chosen_by', 'not recorded')}; seed "
        f"{facts.protocol.get('seed', '?')}",
    ]
    return "\n".join(lines)


def _scores(facts: Facts) -> str:
    against = facts.protocol.get("data", {}).get("scored_against", "the references of the run")
    lines = ["## Scores", "", f"Held-back images as queries against {against}; 95 % intervals.", ""]
    rows = []
    for split in ("val", "test"):
        found, pairs = facts.scores.get(split, {}), facts.scores.get("intervals", {}).get(split, {})
        for name in _SCORES:
            if name in found:
                low_high = "[{:.4f}, {:.4f}]".format(*pairs[name]) if name in pairs else ""
                rows.append(f"| {split} | {name} | {found[name]:.4f} | {low_high} |")
    if not rows:
        return "\n".join([*lines[:2], "The run holds no scores."])
    flatter = "The best checkpoint was chosen by validation, so `val` flatters a little."
    return "\n".join([*lines, "| split | score | value | interval |", "|---|---|---|---|", *rows, "", flatter])


def _images(facts: Facts) -> str:
    channels, height, width = facts.manifest["image_shape"]
    kind = "RGB" if channels == 3 else "grey"
    about = facts.manifest
    return (
        "## Images\n\nThe graph takes bytes as they are decoded, "
        f"`images` uint8 (N,{height},{width},{channels}), {kind}, any N, and gives `embeddings` "
        f"float32 (N,{about['embedding_dim']}). Inside it: scaling, mean {about['mean']} and deviation "
        f"{about['std']} of pixels within 0..1, and what the encoder does to images, resizing too. Outside, in the "
        "loader: orientation tags are obeyed, transparent pixels are laid on white, palettes, CMYK and 16 bits become "
        f"{kind} bytes, the shorter side is resized (Pillow, bilinear) to fit {height}×{width}, then the centre is cut "
        "out. `dml search` and `Searcher` do all of it."
    )


def _threshold(facts: Facts) -> str:
    found = facts.calibration
    if found is None:
        return f"## Threshold\n\nNone: {facts.without_threshold}."
    rate = "fmr" if "fmr" in found else "fpir"
    promise = f"{rate} {found.get(rate)} with confidence {found.get('confidence')}"
    return (
        f"## Threshold\n\n{found['threshold']}: what is nearer is a match, an image without one is unknown. Promised: "
        f"{promise}, from {found.get('num_classes')} classes; `calibration.json` has the whole record."
    )


def _use(facts: Facts) -> str:
    channels, height, width = facts.manifest["image_shape"]
    mode, more = ("RGB", "") if channels == 3 else ("L", "[..., None]")
    return f"""## Use

With dml, onnxruntime, faiss-cpu, numpy and pillow; no torch:

```bash
dml verify FOLDER
dml search FOLDER new.jpg -k 5
```

```python
from dml.search import Searcher

found = Searcher.load("FOLDER")(["new.jpg"], k=5)
print(found.matches(0))
```

Without dml, for an image of {height}×{width} pixels:

```python
import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession("encoder.onnx")
images = np.asarray(Image.open("new.png").convert("{mode}"))[None]{more}
embeddings = session.run(["embeddings"], {{"images": images}})[0]
```

`weights.safetensors` holds the encoder's weights by name, `classes.json` the names of the classes by label,
`golden.npz` images with the embeddings that torch gives, `validation.npz` what torch found for each query."""
