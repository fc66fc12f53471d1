"""A sweep over a front door that trains nothing: what runs, what is recorded, what is left."""

import csv
import itertools
import statistics
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dml import runs
from dml.errors import UserError
from dml.experiments.jobs import RunApart, run_here
from dml.experiments.sweep.objective import Objective, default_objective
from dml.experiments.sweep.records import Sweep
from dml.experiments.sweep.results import draw, find_best, write_results
from dml.experiments.sweep.search import Search, grid
from dml.experiments.sweep.settings import SweepSettings
from dml.experiments.sweep.space import read_space
from dml.experiments.sweep.sweep import run_sweep

pytestmark = pytest.mark.usefixtures("collected")
RECIPE = {"seed_everything": 0, "model": {"class_path": "dml.modules.EmbeddingModule", "init_args": {"lr": 0.1}}}
OBJECTIVE = Objective("val/knn_accuracy", "max")


class FrontDoor:
    """Stands for `dml`: its score is a function of margin and seed."""

    def __init__(self, fail=(), stop_at=None):
        self.calls, self.fail, self.stop_at = [], fail, stop_at

    def __call__(self, words):
        keys = dict(word.removeprefix("--").split("=", 1) for word in words if "=" in word and word.startswith("--"))
        named = dict(itertools.pairwise(words))
        run = Path(named["--runs_dir"]) / named["--name"]
        self.calls.append((keys.get("margin"), keys.get("seed_everything"), "--ckpt_path" in words))
        if self.stop_at == len(self.calls):
            runs.write_bytes(run / "checkpoints" / "last.ckpt", b"half")
            return 130
        if keys.get("margin") in self.fail:
            print("dml: training diverged; lower --model.optimizer.lr", file=sys.stderr)
            return 2
        runs.write_bytes(run / "config.yaml", yaml.safe_dump(RECIPE | {"margin": keys.get("margin")}).encode())
        score = 1 - abs(float(keys.get("margin", 0.5)) - 0.5) + 0.01 * int(keys.get("seed_everything", 0))
        runs.write_json(run / "scores.json", {"val": {"knn_accuracy": score}, "train": {"knn_accuracy": 1.0}})
        return 0


def _sweep(folder, over=("margin=0.1,0.5,0.9",), recipe=RECIPE):
    space = read_space(over, ranges=False)
    return Sweep(folder, recipe, [dimension.key for dimension in space]), grid(space)


def _run(folder, door, seeds=(0, 1), over=("margin=0.1,0.5,0.9",), objective=OBJECTIVE, recipe=RECIPE):
    sweep, configurations = _sweep(folder, over, recipe)
    told = []
    settings = SweepSettings([], seeds, configurations, len(configurations), objective)
    run_sweep(sweep, settings, run_here(door), 1, told.append)
    return sweep, told


def _rows(folder):
    with (folder / "sweep.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_configuration_runs_under_every_seed(tmp_path):
    door = FrontDoor()
    sweep, told = _run(tmp_path / "s", door)
    assert [call[:2] for call in door.calls] == [(m, s) for m in ("0.1", "0.5", "0.9") for s in ("0", "1")]
    assert [outcome.status for outcome in told] == ["done"] * 6
    best = write_results(sweep, OBJECTIVE)
    assert best.values == {"margin": "0.5"}
    assert best.scores == pytest.approx([1.0, 1.01])
    rows = _rows(tmp_path / "s")
    assert [(row["margin"], row["seed"], row["status"]) for row in rows][:3] == [
        ("0.1", "0", "done"), ("0.1", "1", "done"), ("0.5", "0", "done"),
    ]  # fmt: skip
    assert float(rows[1]["val/knn_accuracy"]) == pytest.approx(0.61)
    assert yaml.safe_load((tmp_path / "s" / "best.yaml").read_text())["margin"] == "0.5"
    assert (tmp_path / "s" / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_hparams_hold_keys_and_scores(tmp_path):
    sweep, _ = _run(tmp_path / "s", FrontDoor(), seeds=(3,))
    write_results(sweep, OBJECTIVE)
    boards = sorted((tmp_path / "s" / "hparams").iterdir())
    assert len(boards) == 3
    events = EventAccumulator(str(boards[0])).Reload()
    assert events.Scalars("val/knn_accuracy")[0].value == pytest.approx(0.63)
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"margin" in content
    assert b"seed" in content


def test_the_same_call_runs_nothing_again_and_more_values_and_seeds_are_added(tmp_path):
    _run(tmp_path / "s", FrontDoor())
    door = FrontDoor()
    _run(tmp_path / "s", door)
    assert door.calls == []
    sweep, _ = _run(tmp_path / "s", door, seeds=(0, 1, 2), over=("margin=0.3,0.5",))
    assert [call[:2] for call in door.calls] == [("0.3", "0"), ("0.3", "1"), ("0.3", "2"), ("0.5", "2")]
    assert len(sweep.outcomes) == 10


def test_an_interrupted_trial_goes_on_from_its_checkpoint(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path / "s", FrontDoor(stop_at=3))
    assert len(_sweep(tmp_path / "s")[0].outcomes) == 2
    door = FrontDoor()
    _run(tmp_path / "s", door)
    assert door.calls[0] == (None, None, True)  # the recipe is in its folder
    assert [call[:2] for call in door.calls[1:]] == [("0.5", "1"), ("0.9", "0"), ("0.9", "1")]


def test_a_trial_killed_before_its_first_checkpoint_begins_anew(tmp_path):
    sweep, configurations = _sweep(tmp_path / "sweep")
    name = sweep.trial(configurations[0], 0).name
    sweep.folder.mkdir()
    sweep.begin(OBJECTIVE)
    runs.write_bytes(sweep.folder / name / "config.yaml", b"left by the killed trial")

    class Refusing(FrontDoor):
        def __call__(self, words):
            named = dict(itertools.pairwise(words))
            runs.new_run(named["--runs_dir"], named["--name"])  # as `dml fit` does
            return super().__call__(words)

    sweep, _ = _run(sweep.folder, Refusing())
    assert {outcome.status for outcome in sweep.outcomes} == {"done"}


def test_a_sweep_stopped_in_its_first_trial_goes_on(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path / "s", FrontDoor(stop_at=1))
    door = FrontDoor()
    sweep, _ = _run(tmp_path / "s", door)
    assert (len(sweep.outcomes), door.calls[0][2]) == (6, True)


def test_a_sweep_whose_trials_all_failed_takes_a_mended_recipe(tmp_path):
    _run(tmp_path / "s", FrontDoor(fail=("0.1", "0.5", "0.9")))
    mended = {"class_path": "dml.modules.EmbeddingModule", "init_args": {"lr": 0.01}}
    sweep, _ = _sweep(tmp_path / "s", recipe=RECIPE | {"model": mended})
    assert (sweep.outcomes, sweep.configurations) == ([], [])


def test_the_best_is_found_among_what_ran_under_most_seeds(tmp_path):
    _run(tmp_path / "s", FrontDoor(), seeds=(1,))  # 0.5 would be the best of all
    sweep, _ = _run(tmp_path / "s", FrontDoor(), seeds=(0, 1), over=("margin=0.1,0.8",))
    assert find_best(sweep, OBJECTIVE).values == {"margin": "0.8"}


def test_a_failed_trial_is_recorded_and_the_others_run(tmp_path):
    sweep, _ = _run(tmp_path / "s", FrontDoor(fail=("0.5",)))
    best = write_results(sweep, OBJECTIVE)
    assert best.values["margin"] in {"0.1", "0.9"}
    failed = [row for row in _rows(tmp_path / "s") if row["status"] == "failed"]
    assert {row["reason"] for row in failed} == {"training diverged; lower --model.optimizer.lr"}
    door = FrontDoor()
    sweep, configurations = _sweep(tmp_path / "s")
    sweep.forget_failed()
    run_sweep(sweep, SweepSettings([], (0, 1), configurations, 3, OBJECTIVE), run_here(door), 1, lambda outcome: None)
    assert [call[0] for call in door.calls] == ["0.5", "0.5"]
    assert find_best(sweep, OBJECTIVE).values == {"margin": "0.5"}


def test_any_exception_of_a_trial_is_its_own(tmp_path):
    def door(words):
        raise RuntimeError("CUDA out of memory")

    sweep, told = _run(tmp_path / "s", door, seeds=(0,))
    assert {outcome.reason for outcome in told} == {"RuntimeError: CUDA out of memory"}
    assert write_results(sweep, OBJECTIVE) is None


def test_a_score_that_no_trial_has_is_told_and_the_trial_is_kept(tmp_path):
    with pytest.raises(
        UserError, match=r"no score 'val/nothing' in the trials: .* train/knn_accuracy, val/knn_accuracy"
    ):
        _run(tmp_path / "s", FrontDoor(), objective=Objective("val/nothing", "max"))
    door = FrontDoor()
    _run(tmp_path / "s", door)
    assert len(door.calls) == 5


def test_a_folder_of_another_sweep_or_of_anything_else_is_refused(tmp_path):
    _run(tmp_path / "s", FrontDoor())
    other = {**RECIPE, "model": {"class_path": "dml.modules.EmbeddingModule", "init_args": {"lr": 0.2}}}
    with pytest.raises(UserError, match=r"model.init_args.lr: 0.1 there, 0.2 here"):
        _sweep(tmp_path / "s", recipe=other)
    with pytest.raises(UserError, match="is a sweep over margin"):
        _sweep(tmp_path / "s", over=("lr=1,2",))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("seed_everything: 0\n")
    with pytest.raises(UserError, match="is not a sweep"):
        _sweep(tmp_path / "run")


def test_a_key_that_a_later_version_knows_is_not_another_recipe(tmp_path):
    _run(tmp_path / "s", FrontDoor())
    later = RECIPE | {"evaluation": {"retrieval": True}}
    sweep, configurations = _sweep(tmp_path / "s", recipe=later)
    assert sweep.left((0, 1), configurations) == []
    handed_on = {"model": {"class_path": "dml.modules.EmbeddingModule", "dict_kwargs": {}}}
    _run(tmp_path / "t", FrontDoor(), recipe=RECIPE | handed_on)
    with pytest.raises(UserError, match=r"dict_kwargs.alpha: None there, 2 here"):
        _sweep(tmp_path / "t", recipe={"model": {**handed_on["model"], "dict_kwargs": {"alpha": 2}}})


def test_a_second_start_in_the_same_folder_is_refused_while_the_first_runs(tmp_path):
    def door(words):
        with pytest.raises(UserError, match="another process is at work"):
            _run(tmp_path / "s", FrontDoor())
        return FrontDoor()(words)

    sweep, _ = _run(tmp_path / "s", door, seeds=(0,))
    assert [outcome.status for outcome in sweep.outcomes] == ["done"] * 3


def test_another_seed_of_the_recipe_is_the_same_sweep(tmp_path):
    _run(tmp_path / "s", FrontDoor())
    assert len(_sweep(tmp_path / "s", recipe=RECIPE | {"seed_everything": 7})[0].outcomes) == 6


def test_equal_folders_mean_equal_configurations(tmp_path):
    sweep, _ = _sweep(tmp_path / "s")
    other, _ = _sweep(tmp_path / "s", recipe=RECIPE | {"data": {"batch_size": 5}})
    names = {s.trial({"margin": m}, seed).name for s in (sweep, other) for m in ("1", "1.0") for seed in (0, 1)}
    assert len(names) == 8
    assert (
        sweep.trial({"data.root": "../a b/c" * 40}, 0).name
        == Path(sweep.trial({"data.root": "../a b/c" * 40}, 0).name).name
    )


def test_random_search_stops_when_a_small_space_is_exhausted(tmp_path):
    space = read_space(["margin=0.1,0.5"], ranges=True)
    sweep = Sweep(tmp_path / "s", RECIPE, ["margin"])
    door = FrontDoor()
    settings = SweepSettings([], (0,), Search("random", space, 0, "max"), 5, OBJECTIVE)
    run_sweep(sweep, settings, run_here(door), 1, lambda outcome: None)
    assert sorted(call[0] for call in door.calls) == ["0.1", "0.5"]


def test_random_search_goes_on_where_it_stopped(tmp_path):
    def run(folder, door):
        space = read_space(["margin=0:1"], ranges=True)
        settings = SweepSettings([], (0,), Search("random", space, 0, "max"), 6, OBJECTIVE)
        run_sweep(Sweep(folder, RECIPE, ["margin"]), settings, run_here(door), 1, lambda outcome: None)
        return [c["margin"] for c in Sweep(folder, RECIPE, ["margin"]).configurations]

    whole = run(tmp_path / "whole", FrontDoor())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "halved", FrontDoor(stop_at=4))
    assert sorted(run(tmp_path / "halved", FrontDoor())) == sorted(whole)


CHILD = """
import json, os, pathlib, sys, time
words = sys.argv[1:]
named = dict(zip(words, words[1:]))
run = pathlib.Path(named["--runs_dir"]) / named["--name"]
run.mkdir(parents=True)
if "--margin=0.9" in words:
    os.kill(os.getpid(), 9)
scores = {"val": {"knn_accuracy": 0.5, "device": float(os.environ["CUDA_VISIBLE_DEVICES"])}}
time.sleep(0.3)
(run / "scores.json").write_text(json.dumps(scores))
"""


def test_trials_in_parallel_have_a_device_each_and_one_may_be_killed(tmp_path):
    (tmp_path / "child.py").write_text(CHILD)
    devices = [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]
    start = RunApart([sys.executable, str(tmp_path / "child.py")], devices)
    sweep, configurations = _sweep(tmp_path / "s")
    run_sweep(sweep, SweepSettings([], (0, 1), configurations, 3, OBJECTIVE), start, 2, lambda outcome: None)
    assert {o.scores["val/device"] for o in sweep.outcomes if o.status == "done"} == {0.0, 1.0}
    assert ["SIGKILL" in o.reason for o in sweep.outcomes if o.values["margin"] == "0.9"] == [True, True]


def test_ctrl_c_is_passed_on_to_the_trials_that_run(tmp_path):
    (tmp_path / "child.py").write_text(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in a background job of a shell
        "try:\n    print('up', flush=True)\n    time.sleep(600)\n"
        "except KeyboardInterrupt:\n    sys.exit(130)\n"
    )
    start = RunApart([sys.executable, str(tmp_path / "child.py")], [{}, {}])
    sweep, configurations = _sweep(tmp_path / "s")
    logs = tmp_path / "s" / "logs"

    def press():
        while sum(log.stat().st_size > 0 for log in logs.glob("*.txt")) < 2:
            time.sleep(0.05)
        start.interrupt()

    threading.Thread(target=press).start()
    with pytest.raises(KeyboardInterrupt):
        run_sweep(sweep, SweepSettings([], (0, 1), configurations, 3, OBJECTIVE), start, 2, lambda outcome: None)
    assert sweep.outcomes == []


@pytest.mark.parametrize(
    ("over", "axes", "series"),
    [
        (("margin=0.1,0.5,0.9",), ("margin", "knn_accuracy\n(mean ± sd over 2 seeds)"), 2),
        (("margin=0.1,0.5,0.9", "lr=1,2"), ("margin", "val/knn_accuracy\n(mean ± sd over 2 seeds)"), 2),
    ],
)
def test_the_plot_shows_mean_and_deviation(tmp_path, over, axes, series):
    sweep, _ = _run(tmp_path / "s", FrontDoor(), over=over)
    plot = draw(sweep, OBJECTIVE).axes[0]
    assert (plot.get_xlabel(), plot.get_ylabel()) == axes
    assert len(plot.containers) == series
    line, _, bars = plot.containers[0]
    assert line.get_xydata().ravel() == pytest.approx([0.1, 0.605, 0.5, 1.005, 0.9, 0.605])
    (low, high) = bars[0].get_segments()[0][:, 1]
    assert high - low == pytest.approx(2 * statistics.stdev([0.6, 0.61]))


@pytest.mark.parametrize(
    ("named", "score", "mode", "objective"),
    [
        ({}, None, None, Objective("val/map_at_r", "max")),
        ({"monitor": "none"}, None, None, Objective("val/map_at_r", "max")),
        ({"monitor": "val/loss", "mode": "min"}, None, None, Objective("val/loss", "min")),
        ({}, "val/loss", None, Objective("val/loss", "min")),
        ({}, "train/knn_accuracy", "min", Objective("train/knn_accuracy", "min")),
    ],
)
def test_the_objective_is_what_the_recipe_is_judged_by(named, score, mode, objective):
    assert default_objective(RECIPE | {"checkpoint": named}, score, mode) == objective


def test_a_score_without_a_section_is_told():
    with pytest.raises(UserError, match="val/knn_accuracy"):
        default_objective(RECIPE, "knn_accuracy", None)


OLD = {
    "recipe": {"model": {"class_path": "dml.modules.EmbeddingModule", "init_args": {"lr": 0.1}}},
    "keys": ["margin"],
    "configurations": [{"margin": "0.1"}, {"margin": "0.5"}],
    "trials": [
        {"values": {"margin": "0.1"}, "seed": 0, "run": "margin=0.1_seed=0_a", "status": "failed", "seconds": 1.0,
         "reason": "diverged", "scores": {}},
        {"values": {"margin": "0.5"}, "seed": 0, "run": "", "status": "done", "seconds": 2.0,
         "reason": "", "scores": {"val/knn_accuracy": 0.875}},
    ],
}  # fmt: skip


def test_a_sweep_folder_of_an_earlier_version_goes_on(tmp_path):
    sweep, _ = _sweep(tmp_path / "elsewhere")
    names = [sweep.trial({"margin": margin}, 0).name for margin in ("0.1", "0.5")]
    trials = [trial | {"run": name} for trial, name in zip(OLD["trials"], names, strict=True)]
    runs.write_json(tmp_path / "s" / "sweep.json", OLD | {"trials": trials})
    assert [outcome.status for outcome in _sweep(tmp_path / "s")[0].outcomes] == ["failed", "done"]
    door = FrontDoor()
    sweep, _ = _run(tmp_path / "s", door, seeds=(0,))
    assert [call[:2] for call in door.calls] == [("0.9", "0")]
    assert _sweep(tmp_path / "s")[0].scores({"margin": "0.5"}, "val/knn_accuracy") == [0.875]
    with pytest.raises(UserError, match=r"lr: 0.1 there, 0.2 here"):
        _sweep(tmp_path / "s", recipe={"model": {"init_args": {"lr": 0.2}}})


def test_a_recipe_file_that_changes_under_a_sweep_ends_it_and_the_trial_is_not_recorded(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("margin: 1")
    door = FrontDoor()

    def editing(words):
        file.write_text(f"margin: {len(door.calls)}")
        return door(words)

    sweep, configurations = _sweep(tmp_path / "s")
    settings = SweepSettings(["--config", str(file)], (0,), configurations, 3, OBJECTIVE)
    with pytest.raises(UserError, match=r"recipe.yaml was changed during the sweep: .* is not recorded"):
        run_sweep(sweep, settings, run_here(editing), 1, lambda outcome: None)
    assert (len(door.calls), _sweep(tmp_path / "s")[0].outcomes) == (1, [])
