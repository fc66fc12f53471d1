"""Tables for the terminal."""

from collections.abc import Mapping, Sequence

_SHOWN = ("knn_accuracy", "recall_at_1", "map_at_r", "accuracy", "loss")


def score_table(rows: Mapping[str, Mapping[str, float]], columns: Sequence[str] = _SHOWN) -> str:
    """Return scores as an aligned table: one row per encoder, one column per score that at least one of them has.

    Example:
        >>> print(score_table({"pixels": {"map_at_r": 0.5}, "trained": {"map_at_r": 0.75, "loss": 0.1}}))
                 map_at_r    loss
        pixels     0.5000
        trained    0.7500  0.1000
    """
    shown = [column for column in columns if any(column in row for row in rows.values())]
    widths = [max(len(column), 6) for column in shown]
    name_width = max(map(len, rows), default=0)
    lines = [" " * name_width + "".join(f"  {column:>{width}}" for column, width in zip(shown, widths, strict=True))]
    for name, row in rows.items():
        cells = "".join(f"  {_cell(row.get(column)):>{width}}" for column, width in zip(shown, widths, strict=True))
        lines.append(f"{name:<{name_width}}{cells}".rstrip())
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
