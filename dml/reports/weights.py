"""The histogram of a weight matrix: a projection that has collapsed shows as a spike at 0."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dml.reports.style import COLOURS


def weight_histogram(before: NDArray[np.floating], after: NDArray[np.floating], name: str) -> Figure:
    """Draw the histograms of a weight before and after training over the same bins.

    Args:
        before: The weight as it started, any shape.
        after: The weight now, any shape.
        name: The weight's name.

    Example:
        >>> import numpy as np
        >>> weight_histogram(np.zeros(5), np.ones(5), "P").axes[0].get_ylabel()
        'weights per bin'
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    bins = np.histogram_bin_edges(np.concatenate([before.ravel(), after.ravel()]), bins=101).tolist()
    axes.hist(before.ravel(), bins, color=COLOURS[5], alpha=0.6, label="before training")
    axes.hist(after.ravel(), bins, color=COLOURS[3], histtype="step", linewidth=1.5, label="after training")
    axes.set(title=f"Histogram of {name}", xlabel="weight", ylabel="weights per bin", yscale="log")
    axes.legend(frameon=False)
    return figure
