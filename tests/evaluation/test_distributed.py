"""The same bytes of JSON whatever the number of processes: 1,003 samples, padded as a distributed sampler pads."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from dml.embeddings import EmbeddingSet
from dml.evaluation import retrieval_scores


def samples():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 40, 1003)
    x = rng.standard_normal((40, 24))[y] + 2 * rng.standard_normal((1003, 24))
    x[900:950] = x[:50]  # duplicates
    return x.astype(np.float32), y


def write_scores(rank, size, folder):
    torch.set_num_threads(1 + rank % 2)
    x, y = samples()
    padded = np.resize(np.arange(len(x)), -(-len(x) // size) * size)
    mine = padded[rank::size]
    merged = EmbeddingSet.gather(x[mine], y[mine], mine, dist.group.WORLD)
    scores = retrieval_scores(
        merged.embeddings, merged.labels, query_ids=merged.ids, knn_ks=(1, 5), group=dist.group.WORLD, max_memory="40MB"
    )
    Path(folder, f"{size}-{rank}.json").write_text(json.dumps(scores, sort_keys=True))


def test_json_is_the_same_on_1_2_3_and_4_processes(tmp_path, in_group):
    for size in (1, 2, 3, 4):
        in_group(write_scores, size, str(tmp_path))
    texts = [path.read_bytes() for path in sorted(tmp_path.glob("*.json"))]
    assert len(texts) == 10
    assert len({hashlib.sha256(text).hexdigest() for text in texts}) == 1
    x, y = samples()
    assert json.loads(texts[0]) == retrieval_scores(x, y, knn_ks=(1, 5))
