"""The distance beyond which an image is unknown, as found by `dml calibrate` for a run, and what it promises."""

from pathlib import Path
from typing import Any, NamedTuple

from dml import runs
from dml.errors import UserError

CALIBRATION = "calibration.json"  # in the folder of the run
_RATES = {"pairs": "fmr", "searches": "fpir"}


class Calibration(NamedTuple):
    """A distance and its promise.

    Attributes:
        threshold: The distance; as near or nearer is a match.
        metric: Its metric.
        of: What the rate is of: `pairs` of different classes, or `searches` for a class that is not there.
        rate: At most so many of them match.
        confidence: Of the promise.
        num_classes: Classes it was found on.
        num_references: Images that were searched; a promise of `searches` holds for an index of as many.
        encoder_hash: Of the encoder.
        trained_on: Whether the encoder was trained on these classes, which promises nothing for others.
    """

    threshold: float
    metric: str
    of: str
    rate: float
    confidence: float
    num_classes: int
    num_references: int
    encoder_hash: str
    trained_on: bool

    def told(self, index_size: int) -> str:
        """Return the promise in words, for an index of so many images.

        Example:
            >>> Calibration(0.5, "l2", "pairs", 0.001, 0.95, 90, 900, "", False).told(50)
            'at most 0.001 of pairs of different classes match, with confidence 0.95 (90 classes)'
        """
        what = "pairs of different classes match"
        if self.of == "searches":
            what = "searches for a class that is not there find a match"
        text = f"at most {self.rate:g} of {what}, with confidence {self.confidence:g} ({self.num_classes} classes)"
        if self.of == "searches" and index_size > self.num_references:
            text += f", in an index of {self.num_references} images; this one has {index_size}, so more will"
        return f"{text}; no promise for new classes, as the encoder was trained on these" if self.trained_on else text


def parse_calibration(told: Any, source: str) -> Calibration:
    """Return the content of a `dml calibrate` record.

    Args:
        told: The record; it may have other keys too.
        source: What messages call it.

    Raises:
        UserError: It is damaged, or is something else.

    Example:
        >>> parse_calibration({"threshold": 0.5}, "x.json")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: x.json is not a record of `dml calibrate`: calibrate again, or search with --no_threshold
    """
    try:
        of = str(told["of"])
        rate, confidence, threshold = (float(told[key]) for key in (_RATES[of], "confidence", "threshold"))
        counts = int(told["num_classes"]), int(told["num_references"])
        texts = told["metric"], told["encoder_hash"]
        fits = 0 <= threshold < float("inf") and 0 < rate < 1 and 0 < confidence < 1
        fits &= all(isinstance(text, str) for text in texts)
        found = Calibration(
            threshold, texts[0], of, rate, confidence, *counts, texts[1], bool(told.get("classes_were_trained_on"))
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        fits = False
    if not fits:
        told = f"{source} is not a record of `dml calibrate`"
        raise UserError(f"{told}: calibrate again, or search with --no_threshold")
    return found


def as_record(found: Calibration) -> dict[str, Any]:
    """Return a calibration in the form that `parse_calibration` reads and an index keeps.

    Example:
        >>> found = Calibration(0.5, "l2", "searches", 0.05, 0.95, 90, 900, "", False)
        >>> parse_calibration(as_record(found), "") == found
        True
    """
    record = found._asdict()
    return record | {_RATES[found.of]: record.pop("rate"), "classes_were_trained_on": record.pop("trained_on")}


def fitting_calibration(
    run: Path | None, kept: dict[str, Any] | None, path: object, metric: str, encoder_hash: str | None
) -> tuple[Calibration | None, str]:
    """Return the calibration that belongs to an index, and where it is from, or why there is none.

    The run's comes first, then what the index keeps; one for another encoder or metric does not count.

    Args:
        run: The run's folder; None if it is not available.
        kept: The record in the index.
        path: The index.
        metric: Of the index.
        encoder_hash: Of the encoder that embeds; None if it is not known, but the index's weights are its own.

    Raises:
        UserError: A record is damaged.
    """
    why = ""
    records: list[tuple[Any, str]] = []
    if run is not None and (file := run / CALIBRATION).exists():
        records.append((runs.read_json(file), str(file)))
    if kept is not None:
        records.append((kept, f"the calibration in {path}"))
    for record, source in records:
        found = parse_calibration(record, source)
        if found.metric != metric:
            why = why or f"{source} is in metric {found.metric}, not {metric}"
        elif encoder_hash is None and source == str(run and run / CALIBRATION):
            why = why or f"{source} cannot be compared with this encoder"
        elif encoder_hash is not None and found.encoder_hash != encoder_hash:
            why = why or f"{source} is of another encoder"
        else:
            return found, source
    return None, f"{why}: not used; calibrate this run again or give --threshold" if why else ""
