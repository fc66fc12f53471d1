"""Makes one-shot runs like Omniglot's official ones of another set's alphabets, to judge a recipe without those.

    python benchmarks/omniglot.py --of images_background_small2.zip --without images_background_small1.zip --to RUNS
    dml fit --config records/omniglot_oneshot --data.source.root images_background_small1.zip --name omniglot
    dml evaluate --run omniglot --queries RUNS

A run takes 20 characters of one alphabet, each drawn by one drawer (the references) and by another (the queries), like
those of Lake, Salakhutdinov, Tenenbaum, "Human-level concept learning through probabilistic program induction", 2015.
Alphabets that `--without` holds too are left out (Greek and Latin are in both small sets), and so are those of fewer
characters. Alphabets take turns.
"""

import argparse
import itertools
import zipfile
from collections import defaultdict
from pathlib import Path, PurePosixPath

import numpy as np

WAYS, DRAWERS = 20, 20


def read_names(place: str) -> dict[str, dict[str, list[str]]]:
    """Return the files of every character of every alphabet in a zip, ordered by drawer."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    with zipfile.ZipFile(place) as archive:
        for name in sorted(archive.namelist()):
            path = PurePosixPath(name)
            if path.suffix == ".png":
                found[path.parts[-3]][path.parts[-2]].append(name)
    return found


def write_runs(place: str, without: str | None, to: Path, count: int, seed: int) -> list[str]:
    """Write the runs; return the alphabets they are of."""
    known = read_names(without) if without else {}
    alphabets = {
        name: list(characters.values())
        for name, characters in read_names(place).items()
        if name not in known and len(characters) >= WAYS
    }
    if not alphabets:
        raise SystemExit(f"no alphabet of {WAYS} characters is new in {place}")
    rng = np.random.default_rng(seed)
    with zipfile.ZipFile(place) as archive:
        for number, characters in zip(range(1, count + 1), itertools.cycle(alphabets.values()), strict=False):
            chosen = rng.choice(len(characters), WAYS, replace=False)
            shown, asked = rng.choice(DRAWERS, 2, replace=False)
            order = rng.permutation(WAYS)
            run, lines = to / f"run{number:02d}", []
            for folder in ("training", "test"):
                (run / folder).mkdir(parents=True, exist_ok=True)
            for position, at in enumerate(order, start=1):
                test = f"test/item{position:02d}.png"
                (run / test).write_bytes(archive.read(characters[chosen[at]][asked]))
                lines.append(f"{run.name}/{test} {run.name}/training/class{at + 1:02d}.png")
            for at, character in enumerate(chosen, start=1):
                (run / f"training/class{at:02d}.png").write_bytes(archive.read(characters[character][shown]))
            (run / "class_labels.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return list(alphabets)


def main() -> None:
    """Write runs and say of what."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of", required=True, help="the zip whose characters are shown")
    parser.add_argument("--without", help="the zip that was trained on")
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--count", type=int, default=200, help="runs, of 20 questions each")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    names = write_runs(options.of, options.without, options.to, options.count, options.seed)
    print(f"{options.count} runs of {', '.join(names)}: {options.to}")


if __name__ == "__main__":
    main()
