"""Explains every score that a run can have, in one line each."""

import re

_MEANINGS = {
    "recall_at_k": "share of images with one of their own class among the k nearest",
    "precision_at_k": "share of the k nearest that are of the image's own class",
    "r_precision": "share of an image's own class among its R nearest, R being how many of that class there are",
    "map_at_r": "R-precision that counts near hits more: mean of the precision at every hit among the R nearest",
    "map": "mean over images of the average precision of the whole ranking",
    "mrr": "mean of 1/rank of the first image of the own class",
    "ndcg": "discounted gain of the whole ranking, 1 if the own class comes first",
    "knn_accuracy": "share of images that a vote of the k nearest training images names correctly",
    "num_lone_queries": "images without another of their class to be found; they are left out",
    "knn_macro_precision": "precision of each class in that vote, averaged over classes",
    "knn_macro_recall": "recall of each class in that vote, averaged over classes",
    "knn_macro_f1": "F1 of each class in that vote, averaged over classes",
    "accuracy": "share of images that the head names correctly",
    "macro_precision": "precision of each class by the head, averaged over classes",
    "macro_recall": "recall of each class by the head, averaged over classes",
    "macro_f1": "F1 of each class by the head, averaged over classes",
    "loss": "the training loss on these images",
    "mse": "mean squared error per pixel of the reconstructions, pixels in 0..1",
    "elbo": "evidence lower bound of a variational autoencoder, in nats per image",
    "spread": "mean distance of the embeddings from their mean; 0 where all images collapse to one point",
    "effective_rank": "how many dimensions the embeddings use: the exponential of the entropy of their singular values",
    "dead_dimensions": "dimensions that vary by less than 1 % of the one that varies most",
    "nmi": "normalised mutual information of k-means clusters and classes",
    "ami": "mutual information of k-means clusters and classes, 0 by chance",
    "ari": "Rand index of k-means clusters and classes, 0 by chance",
    "roc_auc": "how well distance tells pairs of one class from others: 1 perfectly, .5 not at all",
    "equal_error_rate": "error of telling pairs apart by distance, where both kinds of error are equal",
    "fnmr_at_fmr": "share of same-class pairs that are missed when this many of the others pass",
    "error": "share of images that are named wrongly",
}
_NUMBERED = re.compile(r"(recall|precision)_at_(\d+)$")
_LOWER = re.compile("loss|error|mse|mae|fnmr|spread")
_RATED = re.compile(r"fnmr_at_fmr_(.+)$")


def describe_score(name: str) -> str:
    """Return what a score means in one line, "" if it is not known.

    Args:
        name: With or without its part: `val/recall_at_5`, `map_at_r`.

    Example:
        >>> describe_score("val/recall_at_5")
        'share of images with one of their own class among the k nearest, k = 5'
    """
    short = name.rpartition("/")[2]
    if found := _NUMBERED.match(short):
        return f"{_MEANINGS[f'{found[1]}_at_k']}, k = {found[2]}"
    if found := _RATED.match(short):
        return f"{_MEANINGS['fnmr_at_fmr']}: {found[1]}"
    return _MEANINGS.get(short, "")


def lower_is_better(name: str) -> bool:
    """Tell by a score's name whether less of it is better.

    Example:
        >>> lower_is_better("val/loss"), lower_is_better("fnmr_at_fmr_0.001"), lower_is_better("map_at_r")
        (True, True, False)
    """
    return _LOWER.search(name) is not None


def score_names() -> dict[str, str]:
    """Return all scores with what they mean.

    Example:
        >>> score_names()["mrr"]
        'mean of 1/rank of the first image of the own class'
    """
    return dict(_MEANINGS)
