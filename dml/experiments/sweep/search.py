"""Which configurations a sweep tries: all of a grid, or those that Optuna's samplers draw."""

import itertools
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, final

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from dml.experiments.sweep.space import Dimension, number_text, value_of

Configuration = dict[str, str]  # key -> value, as the command line has them
Mode = Literal["min", "max"]
_ATTEMPTS, _BY_SAMPLER = 200, 10  # at a configuration nobody has tried; after the second number at random

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Tried(NamedTuple):
    """A configuration that runs or has ended: its mean score (None: not yet, or failed) and its scores by epoch."""

    values: Configuration
    state: TrialState
    score: float | None = None
    epochs: Mapping[int, float] = MappingProxyType({})


def grid(space: Sequence[Dimension]) -> list[Configuration]:
    """Return every combination of the values, the last key running fastest.

    Example:
        >>> grid([Dimension("a", ("1", "2")), Dimension("b", ("x", "y"))])[1]
        {'a': '1', 'b': 'y'}
    """
    keys = [dimension.key for dimension in space]
    return [dict(zip(keys, values, strict=True)) for values in itertools.product(*(d.choices for d in space))]


@final
class Search:
    """Draws configurations; the n-th is a function of the seed, of n and of what is known by then, whoever draws it.

    Args:
        kind: `random`: each key by itself, evenly over its range or choices; `bayes`: by the tree-structured Parzen
            estimator (Bergstra et al. 2011).
        space: The swept keys.
        seed: Of the draws.
        mode: Whether more (`max`) or less (`min`) of the score is better.

    Example:
        >>> search = Search("random", [Dimension("lr", (), 1e-4, 1e-1, log=True)], seed=0, mode="max")
        >>> search.propose([]) == search.propose([])
        True
    """

    def __init__(self, kind: Literal["random", "bayes"], space: Sequence[Dimension], seed: int, mode: Mode) -> None:
        self.space = list(space)
        self._kind, self._seed = kind, seed
        self._direction = StudyDirection.MAXIMIZE if mode == "max" else StudyDirection.MINIMIZE
        self.distributions = {dimension.key: _distribution(dimension) for dimension in space}

    def propose(self, tried: Sequence[Tried]) -> Configuration | None:
        """Return a configuration that was not tried; None if the space seems to hold no other.

        Args:
            tried: All configurations of the sweep.
        """
        known = [configuration.values for configuration in tried]
        if len(known) >= math.prod(len(d.choices) if d.choices else math.inf for d in self.space):
            return None
        for attempt in range(_ATTEMPTS):
            kind = self._kind if attempt < _BY_SAMPLER else "random"
            values = self._draw(_sampler(kind, (self._seed, len(known), attempt)), tried if kind == "bayes" else ())
            if values not in known:
                return values
        return None

    def _draw(self, sampler: BaseSampler, tried: Sequence[Tried]) -> Configuration:
        study = optuna.create_study(direction=self._direction, sampler=sampler)
        study.add_trials([self._known(each) for each in tried if self._is_within(each.values)])
        drawn = study.ask(self.distributions).params
        return {d.key: drawn[d.key] if d.choices else number_text(drawn[d.key], d.whole) for d in self.space}

    def _known(self, tried: Tried) -> optuna.trial.FrozenTrial:
        return optuna.trial.create_trial(
            state=tried.state,
            value=tried.score,
            params={d.key: parameter(self.distributions[d.key], tried.values[d.key]) for d in self.space},
            distributions=self.distributions,
            intermediate_values=dict(tried.epochs),
        )

    def _is_within(self, values: Configuration) -> bool:
        """Whether a configuration of an earlier start lies in the space as it is now."""
        return all(
            values[d.key] in d.choices if d.choices else d.low <= float(values[d.key]) <= d.high for d in self.space
        )


def distributions_of(configurations: Sequence[Configuration]) -> dict[str, BaseDistribution]:
    """Return the distributions that represent a grid in a study: ranges of numbers, else choices.

    Example:
        >>> distributions_of([{"lr": "0.1", "loss": "a"}, {"lr": "1", "loss": "b"}])
        {'lr': FloatDistribution(high=1.0, log=False, low=0.1, step=None),
        'loss': CategoricalDistribution(choices=('a', 'b'))}
    """
    found: dict[str, BaseDistribution] = {}
    for key in configurations[0] if configurations else ():
        texts = tuple(dict.fromkeys(values[key] for values in configurations))
        numbers = [value_of(text) for text in texts]
        if all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
            found[key] = FloatDistribution(min(map(float, texts)), max(map(float, texts)))
        else:
            found[key] = CategoricalDistribution(texts)
    return found


def parameter(distribution: BaseDistribution, text: str) -> str | int | float:
    """Return a value in Optuna's form.

    Example:
        >>> parameter(FloatDistribution(0, 1), "0.5"), parameter(CategoricalDistribution(("0.5", "1")), "0.5")
        (0.5, '0.5')
    """
    if isinstance(distribution, CategoricalDistribution):
        return text
    return int(text) if isinstance(distribution, IntDistribution) else float(text)


def _distribution(dimension: Dimension) -> BaseDistribution:
    if dimension.choices:
        return CategoricalDistribution(dimension.choices)
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _sampler(kind: str, address: tuple[int, int, int]) -> BaseSampler:
    """Return a sampler whose draws are addressed: workers that share a seed draw different configurations."""
    seed: Any = int(np.random.SeedSequence(address).generate_state(1)[0])
    # a running trial counts as a bad one: workers keep apart
    return TPESampler(seed=seed, constant_liar=True) if kind == "bayes" else RandomSampler(seed=seed)
