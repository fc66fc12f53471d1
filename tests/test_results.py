"""README's results table is what the committed scores say, and every committed score is shown."""

import json
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
TABLE = [sys.executable, str(ROOT / "benchmarks" / "table.py"), "--check"]


def test_the_table_is_in_step_with_the_scores():
    run = subprocess.run(TABLE, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_no_committed_score_goes_unshown():
    rows = yaml.safe_load((RESULTS / "rows.yaml").read_text(encoding="utf-8"))
    assert {folder.name for folder in (RESULTS / "scores").iterdir()} == {row["scores"] for row in rows}


def test_every_reference_experiment_has_a_row():
    rows = {row["row"] for row in yaml.safe_load((RESULTS / "rows.yaml").read_text(encoding="utf-8"))}
    wanted = {f"{part}{i + 1}" for part, number in zip("ABCDE", (5, 4, 7, 5, 6), strict=True) for i in range(number)}
    assert {row for row in rows if not row.startswith("R")} == wanted  # R: records


def _refuse(word):
    raise AssertionError(f"{word} among the scores")


def test_scores_are_finite_numbers():
    for file in (RESULTS / "scores").rglob("*.json"):
        json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse)
