"""Many workers share one sweep: each trial is recorded once, also where workers are killed; ASHA ends the hopeless."""

import itertools
import json
import math
import multiprocessing
import os
import signal
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest

from dml import runs
from dml.cli.running.trial import trial_callbacks
from dml.errors import UserError
from dml.experiments.sweep.objective import Objective
from dml.experiments.sweep.pruning import PrunedError, Pruning
from dml.experiments.sweep.records import Sweep
from dml.experiments.sweep.search import Search, grid
from dml.experiments.sweep.settings import SweepSettings
from dml.experiments.sweep.space import read_space
from dml.experiments.sweep.storage import JOURNAL, open_storage
from dml.experiments.sweep.sweep import run_sweep

RECIPE = {"seed_everything": 0, "model": {"class_path": "dml.modules.EmbeddingModule", "init_args": {"lr": 0.1}}}
OBJECTIVE = Objective("val/knn_accuracy", "max")


class Training:
    """Stands for `dml fit`: waits, keeps count in a file, scores; tells its score by epoch where it is asked to."""

    def __init__(self, counted, seconds=0.0, epochs=1):
        self.counted, self.seconds, self.epochs = counted, seconds, epochs

    def __call__(self, words, log):
        named = dict(itertools.pairwise(words))
        keys = dict(word.removeprefix("--").split("=", 1) for word in words if word.startswith("--") and "=" in word)
        run = Path(named["--runs_dir"]) / named["--name"]
        with runs.held(run):
            time.sleep(self.seconds)
            callbacks = trial_callbacks()
            for epoch in range(self.epochs):
                score = self.score(float(keys["margin"]), epoch + 1)
                try:
                    with self.counted.open("a") as file:
                        file.write(f"{run.name}\n")
                    self.tell(callbacks, epoch, score)
                except PrunedError as error:
                    log.write_text(f"dml: {error}")
                    return error.exit_code
            runs.write_json(run / "scores.json", {"val": {"knn_accuracy": score}})
        return 0

    def score(self, margin, epoch):
        return (1 - abs(margin - 0.62)) * (1 - math.exp(-epoch / (3 + 4 * margin)))  # the slow ones end higher

    def tell(self, callbacks, epoch, score):
        for callback in callbacks:
            trainer = SimpleNamespace(
                current_epoch=epoch,
                callback_metrics={"val/knn_accuracy": score},
                sanity_checking=False,
                is_global_zero=True,
                strategy=SimpleNamespace(broadcast=lambda decision: decision),
            )
            callback.on_validation_end(trainer, None)
            callback.on_train_epoch_end(trainer, None)


def _work(folder, storage, training, search, count, pruning=None, recipe=RECIPE):
    sweep = Sweep(folder, recipe, ["margin"], storage)
    settings = SweepSettings([], (0,), search, count, OBJECTIVE, pruning)
    run_sweep(sweep, settings, training, 1, lambda outcome: None)
    return sweep


def _grid(count):
    return grid(read_space([f"margin=0:1:{count}"], ranges=False))


def _lines(file):
    return file.read_text().split() if file.exists() else []


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_of_four_workers_two_are_killed_and_each_trial_is_recorded_once(tmp_path, kind):
    count = {"journal": 100, "sqlite": 8}[kind]
    storage = {"journal": f"journal:{tmp_path / 'j'}", "sqlite": f"sqlite:///{tmp_path / 'x.db'}"}[kind]
    training = Training(tmp_path / "counted", seconds=0.02)
    fork = multiprocessing.get_context("fork")
    words = (tmp_path / "s", storage, training, _grid(count), count)
    workers = [fork.Process(target=_work, args=words) for _ in range(4)]
    for worker in workers:
        worker.start()
    while len(_lines(tmp_path / "counted")) < count // 4 and any(worker.is_alive() for worker in workers):
        time.sleep(0.01)
    for worker in workers[:2]:
        worker.kill()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [-signal.SIGKILL] * 2 + [0] * 2
    sweep = Sweep(tmp_path / "s", RECIPE, ["margin"], storage)
    assert sorted(float(outcome.values["margin"]) for outcome in sweep.outcomes) == pytest.approx(
        [index / (count - 1) for index in range(count)]
    )
    study = optuna.load_study(study_name="s", storage=open_storage(storage))
    assert Counter(trial.state.name for trial in study.trials) == {"COMPLETE": count}
    assert max(trial.params["margin"] for trial in study.trials) == 1.0
    assert len(_lines(tmp_path / "counted")) <= count + 2  # only what the killed two were at was run twice


def test_the_mark_that_another_worker_is_just_writing_makes_no_other_folder(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / ".study.json.k3x9").write_text('{"identity": "')
    sweep = _work(tmp_path / "s", f"journal:{tmp_path / 'j'}", Training(tmp_path / "counted"), _grid(2), 2)
    assert len(sweep.outcomes) == 2


def test_a_worker_draws_what_the_others_have_not(tmp_path):
    storage = f"journal:{tmp_path / 'j'}"
    space = read_space(["margin=0:1"], ranges=True)
    words = (tmp_path / "s", storage, Training(tmp_path / "counted", seconds=0.02))
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=_work, args=(*words, Search("bayes", space, 0, "max"), 14)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    sweep = Sweep(tmp_path / "s", RECIPE, ["margin"], storage)
    assert len(sweep.outcomes) == len({outcome.values["margin"] for outcome in sweep.outcomes}) == 14


def test_asha_finds_the_same_best_in_less_than_two_fifths_of_the_epochs(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # some hundred reports, and the disk may be slow
    whole = _work(tmp_path / "whole", None, Training(tmp_path / "all", epochs=27), _grid(27), 27)
    pruned = _work(tmp_path / "s", None, Training(tmp_path / "some", epochs=27), _grid(27), 27, Pruning(1, 3))
    best = [max((o for o in sweep.outcomes if o.status == "done"), key=lambda o: o.scores["val/knn_accuracy"])
            for sweep in (whole, pruned)]  # fmt: skip
    assert best[0].values == best[1].values
    epochs = len(_lines(tmp_path / "all")), len(_lines(tmp_path / "some"))
    assert epochs[0] == 27 * 27
    assert epochs[1] < 0.4 * epochs[0]
    reasons = [outcome.reason for outcome in pruned.outcomes if outcome.status == "pruned"]
    assert len(reasons) > 12
    assert all("is behind the other trials'" in reason for reason in reasons)


def test_a_worker_of_another_recipe_is_told_and_records_nothing(tmp_path):
    words = (tmp_path / "s", f"journal:{tmp_path / 'j'}", Training(tmp_path / "counted"), _grid(3), 3)
    _work(*words)
    other = {"model": {"class_path": "dml.modules.EmbeddingModule", "init_args": {"lr": 0.2}}}
    with pytest.raises(UserError, match=r"sweep of another recipe \(model.init_args.lr: 0.1 there, 0.2 here\)"):
        _work(*words, recipe=other)
    assert len(_lines(tmp_path / "counted")) == 3


def test_a_folder_and_its_storage_belong_together(tmp_path):
    storage = f"journal:{tmp_path / 'j'}"
    training = Training(tmp_path / "counted")
    _work(tmp_path / "s", storage, training, _grid(2), 2)
    with pytest.raises(UserError, match="of another folder than"):
        _work(tmp_path / "other" / "s", storage, training, _grid(2), 2)
    with pytest.raises(UserError, match="whose storage is journal:"):
        _work(tmp_path / "s", None, training, _grid(2), 2)


def test_a_line_that_a_killed_writer_left_half_is_cut_off(tmp_path):
    words = (tmp_path / "s", f"journal:{tmp_path / 'j'}", Training(tmp_path / "counted"))
    _work(*words, _grid(2), 2)
    with (tmp_path / "j" / JOURNAL).open("a") as file:
        file.write('{"op_code":4,"wor')
    sweep = _work(*words, _grid(3), 3)
    assert len(sweep.outcomes) == 3
    assert all(json.loads(line) for line in (tmp_path / "j" / JOURNAL).read_text().splitlines())


def test_a_storage_that_goes_away_is_told_and_the_runs_stay(tmp_path):
    database = tmp_path / "x.db"
    words = (tmp_path / "s", f"sqlite:///{database}")

    class Losing(Training):
        def __call__(self, words, log):
            code = super().__call__(words, log)
            database.write_bytes(b"no database")
            return code

    with pytest.raises(UserError, match=r"storage sqlite:.* cannot be reached \(.*\): .* the same command goes on"):
        _work(*words, Losing(tmp_path / "counted"), _grid(2), 2)
    assert len(list((tmp_path / "s").glob("margin=*/scores.json"))) == 1
