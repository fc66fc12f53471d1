"""Which configurations a sweep tries: all of a grid, random ones, or those a Bayesian search proposes."""

import importlib
import itertools
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, final

from dml.errors import UserError
from dml.experiments.sweep.space import Dimension, number_text

Configuration = dict[str, str]  # key -> value, as the command line has them
Mode = Literal["min", "max"]


def grid(space: Sequence[Dimension]) -> list[Configuration]:
    """Return every combination of the values, the last key running fastest.

    Example:
        >>> grid([Dimension("a", ("1", "2")), Dimension("b", ("x", "y"))])[1]
        {'a': '1', 'b': 'y'}
    """
    keys = [dimension.key for dimension in space]
    return [dict(zip(keys, values, strict=True)) for values in itertools.product(*(d.choices for d in space))]


class Search(ABC):
    """Proposes configurations one after another and may learn from their scores."""

    @abstractmethod
    def propose(self) -> Configuration:
        """Return the next configuration to try."""

    @abstractmethod
    def learn(self, configuration: Configuration, score: float | None) -> None:
        """Take the score of a configuration, None where it failed."""


@final
class RandomSearch(Search):
    """Draws each key by itself: evenly over its range or choices.

    Args:
        space: The swept keys.
        seed: Of the draws; the n-th configuration is a function of it and of n.

    Example:
        >>> RandomSearch([Dimension("lr", (), 1e-4, 1e-1, log=True)], seed=0).propose()
        {'lr': '0.03414016019'}
    """

    def __init__(self, space: Sequence[Dimension], seed: int) -> None:
        self._space = space
        self._draws = random.Random(seed)

    def propose(self) -> Configuration:
        """Draw the next configuration."""
        return {dimension.key: self._draw(dimension) for dimension in self._space}

    def learn(self, configuration: Configuration, score: float | None) -> None:
        """Ignore the score: draws are independent."""

    def _draw(self, dimension: Dimension) -> str:
        if dimension.choices:
            return self._draws.choice(dimension.choices)
        if dimension.log:
            value = math.exp(self._draws.uniform(math.log(dimension.low), math.log(dimension.high)))
        elif dimension.whole:
            value = self._draws.randint(int(dimension.low), int(dimension.high))
        else:
            value = self._draws.uniform(dimension.low, dimension.high)
        return number_text(min(max(value, dimension.low), dimension.high), dimension.whole)


@final
class BayesSearch(Search):
    """Optuna's tree-structured Parzen estimator (Bergstra et al. 2011) over the space.

    Args:
        space: The swept keys.
        seed: Of its draws.
        mode: Whether more (`max`) or less (`min`) of the score is better.

    Raises:
        UserError: Optuna is not installed.
    """

    def __init__(self, space: Sequence[Dimension], seed: int, mode: Mode) -> None:
        try:
            optuna: Any = importlib.import_module("optuna")
        except ImportError:
            raise UserError("a Bayesian search needs Optuna, an extra: pip install optuna") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self._space = space
        self._distributions = {dimension.key: self._distribution(dimension) for dimension in space}
        self._asked: dict[tuple[str, ...], Any] = {}
        direction = "maximize" if mode == "max" else "minimize"
        self._study = optuna.create_study(direction=direction, sampler=optuna.samplers.TPESampler(seed=seed))

    def propose(self) -> Configuration:
        """Ask for the configuration that promises most."""
        trial = self._study.ask(self._distributions)
        configuration = {
            d.key: trial.params[d.key] if d.choices else number_text(trial.params[d.key], d.whole) for d in self._space
        }
        self._asked[tuple(configuration.values())] = trial
        return configuration

    def learn(self, configuration: Configuration, score: float | None) -> None:
        """Tell the score; of a configuration of an earlier start too."""
        states = self._optuna.trial.TrialState
        state = states.FAIL if score is None else states.COMPLETE
        trial = self._asked.pop(tuple(configuration.values()), None)
        if trial is not None:
            self._study.tell(trial, score, state=state)
        elif self._is_within(configuration):
            parameters = {d.key: self._parameter(d, configuration[d.key]) for d in self._space}
            known = self._optuna.trial.create_trial(
                params=parameters, distributions=self._distributions, value=score, state=state
            )
            self._study.add_trial(known)

    def _distribution(self, dimension: Dimension) -> Any:
        kinds = self._optuna.distributions
        if dimension.choices:
            return kinds.CategoricalDistribution(dimension.choices)
        if dimension.whole:
            return kinds.IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
        return kinds.FloatDistribution(dimension.low, dimension.high, log=dimension.log)

    def _is_within(self, configuration: Configuration) -> bool:
        """Whether a configuration of an earlier start lies in the space as it is now."""
        return all(
            configuration[d.key] in d.choices if d.choices else d.low <= float(configuration[d.key]) <= d.high
            for d in self._space
        )

    def _parameter(self, dimension: Dimension, text: str) -> str | int | float:
        if dimension.choices:
            return text
        return int(text) if dimension.whole else float(text)
