"""What A2's pull-only projection does to training photographs and to new ones, read from its weights.

    python benchmarks/collapse.py --root FLOWERS/train --run runs/flowers/pull_linear-0

The pull's gradient lies in the span of differences within classes of training photographs. So P shrinks there and stays
as it started outside; new photographs also differ outside.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from dml import runs
from dml.data import ImageData, StratifiedSplit

RESULTS = Path(__file__).parent / "results"
DIMENSIONS = 64


def without_means(images: Tensor, labels: Tensor) -> Tensor:
    """Return images (N,D) less the mean of their class."""
    within = images.clone()
    for label in labels.unique():
        within[labels == label] -= images[labels == label].mean(dim=0)
    return within


def size(rows: Tensor) -> float:
    """Return the root mean square length of rows."""
    return float(rows.square().sum(dim=1).mean().sqrt())


def measure(root: str, run: Path) -> dict[str, float]:
    split = StratifiedSplit(val=120, test=0)
    seed = runs.read_json(run / runs.PROTOCOL)["seed"]
    data = ImageData(root=root, image_size=64, split=split, mean=0.5, std=0.5, eval_batch_size=1000, seed=seed)
    data.setup("fit")
    new, known = (next(iter(loader)) for loader in data.val_dataloader())
    state = torch.load(runs.find_checkpoint(run, "last"), weights_only=True, map_location="cpu")["state_dict"]
    projection = next(weight for weight in state.values() if weight.shape[:1] == (DIMENSIONS,)).double()  # (64, D)
    within_known = without_means(known.images.flatten(1).double(), known.labels)
    within_new = without_means(new.images.flatten(1).double(), new.labels)
    means = known.images.flatten(1).double() - within_known
    between = means - means.mean(dim=0)
    _, sizes, basis = torch.linalg.svd(within_known, full_matrices=False)
    basis = basis[sizes > 1e-8 * sizes[0]]  # (rank, D)
    inside = projection @ basis.T
    outside = projection - inside @ basis
    pixels = projection.shape[1]
    start = (1 / (pixels + DIMENSIONS)) ** 0.5  # standard deviation of the initial weights
    started = DIMENSIONS**0.5 * start  # a random projection scales lengths by it, on average
    return {
        "pixels": pixels,
        "span_of_differences_within_classes": len(basis),
        "weights_inside_relative_to_start": float(inside.square().mean().sqrt()) / start,
        "weights_outside_relative_to_start": float((outside.square().sum() / DIMENSIONS / (pixels - len(basis))).sqrt())
        / start,
        "share_of_new_variation_inside": float((within_new @ basis.T).square().sum() / within_new.square().sum()),
        "within_known_at_start": size(within_known) * started,
        "within_known_at_end": size(within_known @ projection.T),
        "within_new_at_start": size(within_new) * started,
        "within_new_at_end": size(within_new @ projection.T),
        "between_at_start": size(between) * started,
        "between_at_end": size(between @ projection.T),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder of class folders, 12 flower species, 60 images each")
    parser.add_argument(
        "--run", type=Path, default=Path("runs/flowers/pull_linear-0"), help="a run of pull_linear.yaml"
    )
    options = parser.parse_args()
    measured = measure(options.root, options.run)
    runs.write_json(RESULTS / "collapse.json", measured)
    for name, value in measured.items():
        print(f"{name:<40} {value:.4g}")


if __name__ == "__main__":
    main()
