"""The settings of a sweep."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from optuna.distributions import BaseDistribution

from dml.experiments.sweep.objective import Objective
from dml.experiments.sweep.pruning import Pruning
from dml.experiments.sweep.search import Configuration, Search, distributions_of


@final
@dataclass(frozen=True)
class SweepSettings:
    """What a sweep runs.

    Args:
        recipe: `--config FILE` and `--KEY VALUE` that all trials share.
        seeds: Each configuration is run under each.
        search: All configurations, or what draws them.
        count: How many configurations are tried, those of earlier starts included.
        objective: What a search learns from.
        pruning: How trials that fall behind end early; None: all run to their end.
    """

    recipe: Sequence[str]
    seeds: Sequence[int]
    search: Search | Sequence[Configuration]
    count: int
    objective: Objective
    pruning: Pruning | None = None

    def listed(self) -> Sequence[Configuration]:
        """Return the configurations of a grid in the order they are tried; none of a search that draws them.

        Where trials are pruned the order is drawn: along a key a grid often gets better and better, and the next trial
        would always be ahead.
        """
        if isinstance(self.search, Search):
            return ()
        listed = list(self.search)
        if self.pruning is not None:
            random.Random(0).shuffle(listed)
        return listed

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return the distributions that represent configurations in the study."""
        return self.search.distributions if isinstance(self.search, Search) else distributions_of(self.search)
