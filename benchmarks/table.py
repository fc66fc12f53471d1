"""Writes the results table, and its headlines in README, from committed scores: python benchmarks/table.py [--check].

Every number comes from files in the form of scores.json below `results/scores`, one per seed, as `results/rows.yaml`
names them; nothing is typed in by hand but what the reference published. `--check` changes nothing and fails where
`results/table.md` or README is not what would be written.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- results: written by benchmarks/table.py -->", "<!-- end of results -->"
KEYS = {"row", "experiment", "scores", "show", "reference", "data", "machine"}
HEAD = """# Results of the reference experiments

Written by `python benchmarks/table.py` from the scores beside it: mean ± standard deviation over n seeds. How each
was made, and what fell short, is told in the pages of this folder.

"""


def cell(folder: Path, show: Sequence[str]) -> tuple[str, int]:
    """Return mean ± sd of each score over all seeds, and how many seeds there are."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise SystemExit(f"no scores in {folder.relative_to(ROOT)}")
    scores = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return "; ".join(figure(name, [read(one, name) for one in scores]) for name in show), len(files)


def read(scores: dict[str, Any], name: str) -> float:
    value: Any = scores
    for part in name.split("/"):
        value = value[part]
    return float(value)


def figure(name: str, values: Sequence[float]) -> str:
    if len(set(values)) == 1 and values[0] in (0, 1):
        return f"{name.replace('_', ' ')} {values[0]:g}"
    mean = statistics.fmean(values)
    digits = 3 if abs(mean) >= 0.0995 else 4
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{name.replace('_', ' ')} {mean:.{digits}f}{spread}"


def table(headlines: bool) -> str:
    """Return all rows, or the headlines, as a table in Markdown."""
    rows = yaml.safe_load((RESULTS / "rows.yaml").read_text(encoding="utf-8"))
    rows = [row for row in rows if row.pop("headline", False) or not headlines]
    lines = ["| | experiment | ours: mean ± sd | n | reference | data | machine |", "|---|---|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: (row["row"][0], int(row["row"][1:]))):  # stable: order of the file within
        if row.keys() != KEYS:
            raise SystemExit(f"row {row.get('row')} in rows.yaml: wrong or missing keys {set(row) ^ KEYS}")
        ours, number = cell(RESULTS / "scores" / row["scores"], row["show"])
        texts = row["row"], row["experiment"], ours, str(number), row["reference"], row["data"], row["machine"]
        lines.append(f"| {' | '.join(str(text).replace('|', '&#124;') for text in texts)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail where README is out of step")
    options = parser.parse_args()
    readme, whole = ROOT / "README.md", RESULTS / "table.md"
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"README.md lacks the marks {BEGIN} and {END}")
    wanted = {readme: f"{before}{BEGIN}\n{table(True)}\n{END}{after}", whole: f"{HEAD}{table(False)}\n"}
    for file, content in wanted.items():
        if not options.check:
            file.write_text(content, encoding="utf-8")
        elif not file.exists() or file.read_text(encoding="utf-8") != content:
            sys.exit(f"{file.relative_to(ROOT)} is out of step: python benchmarks/table.py writes the results table")


if __name__ == "__main__":
    main()
