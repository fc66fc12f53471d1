"""Shows a sweep while it runs: one line per finished trial, and a bar where the terminal can show one."""

import sys
from types import TracebackType
from typing import Self, final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dml.experiments.sweep.trials import Outcome


@final
class SweepProgress:
    """Tells of each outcome; `sys.stdout` is remembered, as trials that run here write theirs to a log.

    Args:
        done: Trials of earlier starts.
        total: Trials there are in all.
        score: The score that is shown.

    Example:
        >>> with SweepProgress(0, 2, "val/map_at_r") as progress:
        ...     progress.tell(Outcome({"margin": "0.5"}, 0, "run", "done", 3.0, scores={"val/map_at_r": 0.75}))
        [1/2] margin=0.5 seed=0  val/map_at_r 0.7500  3 s
    """

    def __init__(self, done: int, total: int, score: str) -> None:
        self._done, self._total, self._score = done, total, score
        self._console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._bar = Progress(
            *columns,
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(
            "trials (Ctrl-C stops; the same command goes on)", total=self._total, completed=self._done
        )

    def __enter__(self) -> Self:
        """Start the bar, and tell how many trials need not be run again."""
        if self._done:
            self._console.print(f"{self._done} trials of an earlier start are kept", markup=False)
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Remove the bar."""
        self._bar.stop()

    def tell(self, outcome: Outcome) -> None:
        """Print a line and move the bar."""
        self._done += 1
        words = " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in outcome.values.items())
        score = outcome.scores.get(self._score)
        told = f"{self._score} {score:.4f}" if score is not None else f"{outcome.status}: {outcome.reason}"
        line = f"[{self._done}/{self._total}] {words} seed={outcome.seed}  {told}  {outcome.seconds:.0f} s"
        self._console.print(line, markup=False)
        self._bar.update(self._task, completed=self._done)
