"""Trains with several processes and tells what each of them did to prepare the data: `FOLDER/rank0.json`, ….

`python tests/one_rank.py FOLDER dml fit …` runs the front door, `python tests/one_rank.py FOLDER plain ROOT DEVICES` a
plain `lightning.Trainer`. What is counted: folders walked, files read to be hashed, sets decoded, read from the cache,
looked over for flaws, and split.
"""

import atexit
import json
import os
import sys
from collections import Counter
from pathlib import Path

from lightning.pytorch import Trainer, seed_everything

from dml.callbacks import KNNEvaluation
from dml.cli import main
from dml.data import ImageData
from dml.data import datamodule as module
from dml.data.images import flaws
from dml.data.images import open as images
from dml.data.sources import files
from dml.encoders import MLPEncoder
from dml.losses import TripletLoss
from dml.modules import EmbeddingModule

WORK = ((files, "walk"), (files.Folder, "read"), (images, "decode_all"), (images, "read_cache"))
WORK += ((images, "find_unreadable"), (flaws, "find_flaws"), (module, "assign_parts"), (module, "split_hash"))


def count_work():
    """Count from now on what preparing takes."""
    counts = Counter()

    def counting(name, function):
        def counted(*values, **keys):
            counts[name] += 1
            return function(*values, **keys)

        return counted

    for place, name in WORK:
        setattr(place, name, counting(name, getattr(place, name)))
    return counts


def train_plain(root, devices):
    """Train under a plain trainer; return what was scored."""
    seed_everything(0)
    data = ImageData(root=root, image_size=8, batch_size=12, classes_per_batch=3, workers=0)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = Trainer(
        max_epochs=1, devices=devices, enable_model_summary=False, callbacks=[KNNEvaluation(k=1, ks=(1,))], **quiet
    )
    trainer.fit(EmbeddingModule(MLPEncoder(4), TripletLoss(0.2)), datamodule=data)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


if __name__ == "__main__":
    folder, kind, *words = sys.argv[1:]
    counts = count_work()
    rank = os.environ.get("LOCAL_RANK", "0")
    atexit.register(lambda: Path(folder, f"rank{rank}.json").write_text(json.dumps(counts)))
    if kind == "plain":
        scores = train_plain(words[0], int(words[1]))
        Path(folder, f"scores{rank}.json").write_text(json.dumps(scores))
    else:
        sys.exit(main(words))
