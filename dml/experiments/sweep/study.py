"""A sweep's study: the mark in the sweep's folder that says where it is kept, and its trials in Optuna's form."""

import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from dml import runs
from dml.errors import UserError, without_password
from dml.experiments.sweep.search import Configuration, Mode, parameter
from dml.experiments.sweep.storage import PREFIX, open_storage, reaching
from dml.experiments.sweep.trials import Outcome

MARK, OLD = "study.json", "sweep.json"  # the second: all of a sweep, before Optuna kept it
VALUES, SEED, RUN, OUTCOME = "values", "seed", "run", "outcome"
RECIPE, KEYS, IDENTITY = "recipe", "keys", "folder"
STATES = {"done": TrialState.COMPLETE, "failed": TrialState.FAIL, "pruned": TrialState.PRUNED}


class Mark(NamedTuple):
    """What ties a folder to its study: a random name that both hold, and the storage's address without password."""

    identity: str
    storage: str


def read_mark(folder: Path) -> Mark | None:
    """Return the mark of a sweep's folder, None if there is none yet."""
    return Mark(**runs.read_json(folder / MARK)) if (folder / MARK).exists() else None


def is_unfinished_mark(name: str) -> bool:
    """Tell whether a file is a mark on its way into place: another worker begins now, or was killed there.

    Example:
        >>> is_unfinished_mark(".study.json.k3x9"), is_unfinished_mark("config.yaml")
        (True, False)
    """
    return name.startswith(f".{MARK}.")


def own_storage(folder: Path) -> str:
    """Return the address of the storage in a sweep's own folder.

    Example:
        >>> own_storage(Path("runs/margins"))
        'journal:runs/margins'
    """
    return f"{PREFIX}{folder}"


def address_of(folder: Path, storage: str | None) -> str:
    """Return the address of a sweep's storage, in one spelling if it is the sweep's own folder.

    Example:
        >>> address_of(Path("runs/margins"), "journal:runs/../runs/margins")
        'journal:runs/margins'
    """
    own = own_storage(folder)
    if storage is None:
        return own
    inside = storage.startswith(PREFIX) and Path(storage.removeprefix(PREFIX)).resolve() == folder.resolve()
    return own if inside else storage


def find_study(folder: Path, storage: str, mark: Mark | None) -> optuna.Study | None:
    """Return the study of a sweep; None if it has none yet.

    Raises:
        UserError: The folder's study is in another storage, or the storage's study belongs to another folder.
    """
    if mark is None and storage == own_storage(folder):
        return None
    study, identity = _load(folder.name, storage)
    mark = mark or read_mark(folder)  # written before the study, by a worker that began since this one looked
    if identity is not None and mark is None:
        raise UserError(
            f"storage {without_password(storage)} has a sweep {folder.name} of another folder than {folder}: "
            "give the runs_dir that its workers share, or choose another name"
        )
    if mark is not None and identity != mark.identity and mark.storage != _told(folder, storage):
        raise UserError(f"{folder} is a sweep whose storage is {mark.storage}: give that, or choose another folder")
    return study if identity is not None else None  # without one it is begun: its worker was killed


def _load(name: str, storage: str) -> tuple[optuna.Study | None, str | None]:
    """Return a study and the name of the folder it belongs to."""
    with reaching(storage):
        try:
            study = optuna.load_study(study_name=name, storage=open_storage(storage))
        except KeyError:
            return None, None
        return study, study.user_attrs.get(IDENTITY)


def _told(folder: Path, storage: str) -> str:
    """Return an address in the form of a mark: without password; a folder may be moved with the journal in it."""
    return "journal:the folder itself" if storage == own_storage(folder) else without_password(storage)


def create_study(folder: Path, storage: str, mode: Mode, content: Mapping[str, Any]) -> optuna.Study:
    """Create the study and the mark of a sweep.

    Args:
        folder: The sweep's folder, which is there.
        storage: An address.
        mode: Whether more or less of the score is better.
        content: What all its workers agree on: recipe and keys.
    """
    mark = read_mark(folder) or Mark(secrets.token_hex(8), _told(folder, storage))
    runs.write_json(folder / MARK, mark._asdict())
    with reaching(storage):
        study = optuna.create_study(
            study_name=folder.name,
            storage=open_storage(storage),
            direction="maximize" if mode == "max" else "minimize",
            load_if_exists=True,  # left by a worker that was killed here
        )
        for name, value in content.items():
            study.set_user_attr(name, value)
        study.set_user_attr(IDENTITY, mark.identity)  # last: it is whole
    return study


def forget_study(folder: Path, storage: str) -> None:
    """Remove a study in which nothing ended well."""
    with reaching(storage):
        optuna.delete_study(study_name=folder.name, storage=open_storage(storage))


def add_trial(
    study: optuna.Study,
    distributions: Mapping[str, BaseDistribution],
    values: Configuration,
    seed: int,
    run: str,
    outcome: Outcome | None = None,
    score: float | None = None,
) -> None:
    """Add a trial in one step: one that begins now or, with an outcome, one from an earlier version's table.

    Raises:
        UserError: A database keeps the choices of a key as they first were.
    """
    attributes: dict[str, Any] = {VALUES: values, SEED: seed, RUN: run}
    state = TrialState.RUNNING
    if outcome is not None:
        attributes[OUTCOME] = outcome.as_dict()
        state = TrialState.FAIL if score is None else STATES[outcome.status]
    trial = optuna.trial.create_trial(
        state=state,
        value=score,
        params={key: parameter(distribution, values[key]) for key, distribution in distributions.items()},
        distributions=dict(distributions),
        user_attrs=attributes,
    )
    try:
        study.add_trial(trial)
    except ValueError as error:
        raise UserError(
            f"the study's database refuses other values of a key ({error}): choose another folder"
        ) from error


def outcome_of(trial: FrozenTrial) -> Outcome | None:
    """Return the outcome of a trial; None while it runs."""
    known = trial.user_attrs.get(OUTCOME)
    return Outcome(**known) if known is not None and trial.state.is_finished() else None


def difference(known: Any, given: Any, path: str = "") -> str:
    """Return the first key in which two complete recipes differ, with both values; empty if they are equal.

    A key that only one of them has came with another version of the code, whose default is what was done before; only
    arguments that are handed on unread (`dict_kwargs`) may be left out by a user.

    Example:
        >>> difference({"model": {"lr": 0.1}}, {"model": {"lr": 0.2}, "new": True})
        'model.lr: 0.1 there, 0.2 here'
    """
    if isinstance(known, dict) and isinstance(given, dict):
        both = {*known, *given} if path.endswith("dict_kwargs") else known.keys() & given.keys()
        for key in sorted(both):
            inner = f"{path}.{key}" if path else key
            if told := difference(known.get(key), given.get(key), inner):
                return told
        return ""
    return "" if known == given else f"{path}: {known} there, {given} here"


def check_same(folder: Path, keys: Sequence[str], recipe: Any, known: Mapping[str, Any], nothing_lost: bool) -> bool:
    """Refuse a sweep over other keys or of another recipe; return whether its recipe was corrected.

    Args:
        folder: The sweep's.
        keys: The swept keys.
        recipe: The complete recipe.
        known: The sweep's own `keys` and `recipe`.
        nothing_lost: Whether no trial ended well, so that a corrected recipe may start over.

    Raises:
        UserError: It names the key, and both values.
    """
    if list(known[KEYS]) != list(keys):
        raise UserError(f"{folder} is a sweep over {', '.join(known[KEYS])}: choose another folder")
    differing = difference(known[RECIPE], json.loads(json.dumps(recipe)))
    if differing and not nothing_lost:
        raise UserError(f"{folder} is a sweep of another recipe ({differing}): choose another folder")
    return bool(differing)
