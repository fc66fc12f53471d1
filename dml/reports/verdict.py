"""Compares a run with raw pixels and the untrained encoder in a sentence or two."""

from collections.abc import Mapping
from typing import Any, NamedTuple

_JUDGED = {"knn_accuracy": "k-NN accuracy", "map_at_r": "MAP@R"}
_NAMES = {"pixels": "raw pixels", "untrained": "the untrained encoder"}


class Verdict(NamedTuple):
    """A sentence for each score; whether one is above all baselines by more than chance, and none below."""

    text: str
    better: bool


def verdict(scores: Mapping[str, Any], split: str = "val") -> Verdict | None:
    """Judge k-NN accuracy and MAP@R of a run by their intervals; None if there is nothing to compare with.

    Baselines of a large set are scored on a sample of it; the run is then judged by its scores on the same.
    A score counts as above a baseline where its whole interval does. The baseline's own chance is left out: it was
    scored on the same images, so much of it is shared; `dml compare` judges pairs of runs query by query.

    Args:
        scores: What `scores.json` holds.
        split: Whose scores.

    Example:
        >>> baselines = {"pixels": {"val": {"map_at_r": 0.3}}}
        >>> intervals = {"val": {"map_at_r": [0.25, 0.4]}}
        >>> verdict({"val": {"map_at_r": 0.32}, "baselines": baselines, "intervals": intervals}).text
        'MAP@R 0.320 [0.250, 0.400] is level with raw pixels (0.300).'
    """
    own, intervals = scores.get(split, {}), scores.get("intervals", {}).get(split, {})
    compared = dict(scores.get("baselines", {}))
    where = ""
    if like := compared.pop("trained_sample", None):  # baselines of a large set are scored on a sample of it
        own = like.get(split, {})
        low, high, size = like.get("low", {}), like.get("high", {}), like.get("sample", {})
        where = f", on {int(size['images']):,} of {int(size['of']):,} images" if size else ""
        intervals = {key: (low[key], high[key]) for key in low.keys() & high.keys()}
    baselines = {_NAMES.get(name, name): sections[split] for name, sections in compared.items() if split in sections}
    sentences, relations = [], set()
    for key, name in _JUDGED.items():
        known = {baseline: values[key] for baseline, values in baselines.items() if key in values}
        if key not in own or not known:
            continue
        low, high = intervals.get(key, (own[key], own[key]))
        rival = max(known, key=lambda baseline: known[baseline])
        relation = "above" if low > known[rival] else "below" if high < known[rival] else "level with"
        relations.add(relation)
        others = [f"{baseline} {value:.3f}" for baseline, value in known.items() if baseline != rival]
        more = f"; {', '.join(others)}" if others else ""
        interval = f" [{low:.3f}, {high:.3f}]" if key in intervals else ""
        sentences.append(f"{name} {own[key]:.3f}{interval} is {relation} {rival} ({known[rival]:.3f}{more}){where}.")
    better = "above" in relations and "below" not in relations
    return Verdict("\n".join(sentences), better) if sentences else None
