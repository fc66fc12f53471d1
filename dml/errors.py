"""The errors that are told in one clear line, without a traceback; each has its exit code at the front door."""

from typing import ClassVar


class UserError(ValueError):
    """A mistake outside the code: a missing folder, a wrong key, a class with one image.

    The message is one line that names the thing and the mend. It is a `ValueError`, so code that uses the library
    (and scikit-learn's estimator checks) can catch it as one; the front door prints the line and exits with code 2.

    Example:
        >>> raise UserError("no folder 'photos': give an existing one")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no folder 'photos': give an existing one
    """

    exit_code: ClassVar[int] = 2


class LostProcessError(UserError):
    """One of the processes that train together died; the run can be gone on with.

    Example:
        >>> LostProcessError.exit_code
        3
    """

    exit_code = 3


class LostTrainingError(UserError):
    """A training that learns nothing any more: it diverged, or its embedding collapsed.

    Example:
        >>> LostTrainingError.exit_code
        4
    """

    exit_code = 4
