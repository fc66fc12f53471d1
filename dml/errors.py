"""The error a user can mend: one clear line, no traceback, exit code 2 at the front door."""


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
