"""Mean and standard deviation over seeds, as text."""

import statistics
from collections.abc import Sequence


def mean_sd(values: Sequence[float], digits: int, leading_zero: bool = True) -> str:
    """Return `mean ± sd`, sd with n − 1; of one value, the value alone.

    Args:
        values: At least one.
        digits: After the point.
        leading_zero: Whether a number below 1 begins with 0.

    Example:
        >>> mean_sd([0.5, 0.7], 4), mean_sd([0.5, 0.7], 3, leading_zero=False), mean_sd([0.5], 2)
        ('0.6000 ± 0.1414', '.600 ± .141', '0.50')
    """
    numbers = [statistics.mean(values), *([statistics.stdev(values)] if len(values) > 1 else [])]
    texts = [f"{number:.{digits}f}" for number in numbers]
    return " ± ".join(text if leading_zero else text.removeprefix("0") for text in texts)
