"""Pictures: functions from results to matplotlib figures; they know nothing of models or training."""

from dml.reports.gallery import retrieval_gallery
from dml.reports.projection import embedding_map
from dml.reports.style import png
from dml.reports.weights import weight_histogram

__all__ = ["embedding_map", "png", "retrieval_gallery", "weight_histogram"]
