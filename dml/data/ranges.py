"""The ranges of `ImageData`'s numbers."""

from dml.errors import UserError
from dml.ranges import check_number

MOST_PIXELS = 10_000  # of a side
MOST_WORKERS = 1024


def check_ranges(
    image_size: int | tuple[int, int] | None,
    batch_size: int,
    eval_batch_size: int,
    workers: int | None,
    memory_limit: float,
    mean: float | list[float],
    std: float | list[float],
    seed: int,
) -> None:
    """Refuse numbers of `ImageData` that make no sense, whatever the images are; see there.

    Raises:
        UserError: One is out of its range.

    Example:
        >>> check_ranges(None, 64, 0, None, 4.0, 0.5, 0.5, 0)
        Traceback (most recent call last):
        ...
        dml.errors.UserError: data.eval_batch_size=0: give a number of at least 1
    """
    sides = (image_size,) if isinstance(image_size, int) else image_size or ()
    if any(not 1 <= side <= MOST_PIXELS for side in sides):
        raise UserError(f"data.image_size={image_size}: give a side of at least one pixel, at most {MOST_PIXELS:,}")
    check_number("data.batch_size", batch_size, least=1)
    check_number("data.eval_batch_size", eval_batch_size, least=1)
    check_number("data.workers", workers or 0, least=0, most=MOST_WORKERS)
    check_number("data.memory_limit", memory_limit, least=0)
    check_number("data.seed", seed, least=0)
    for name, values in (("mean", mean), ("std", std)):
        numbers = values if isinstance(values, list) else [values]
        if not numbers:
            raise UserError(f"data.{name}=[]: give one number, or one per channel")
        for number in numbers:
            check_number(f"data.{name}", number, above=0 if name == "std" else None)
