"""The error a user can mend: one clear line, no traceback, exit code 2 at the front door."""

import re

_RENAMED = {  # old key of `data` -> what to write now
    "augmentation": "data.transform: {class_path: dml.data.Augmentation, init_args: {...}}",
    "labelled": "data.labelled_per_class (images of each class) or data.labelled_share (within 0..1)",
}


class UserError(ValueError):
    """A mistake outside the code: a missing folder, a wrong key, a class with one image.

    The message is one line that names the thing and the mend. It is a `ValueError`, so code that uses the library
    (and scikit-learn's estimator checks) can catch it as one; the front door prints the line and exits with code 2.

    Example:
        >>> raise UserError("no folder 'photos': give an existing one with --data.root")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no folder 'photos': give an existing one with --data.root
    """


def name_renamed_keys(message: str) -> str:
    """Return the parser's message about an unknown key, or in place of it what an old key is called now.

    Example:
        >>> name_renamed_keys("unrecognized arguments: --data.augmentation.flip 1")
        'data.augmentation is now data.transform: {class_path: dml.data.Augmentation, init_args: {...}}'
        >>> name_renamed_keys("unrecognized arguments: --data.labelled_sahre 1")
        'unrecognized arguments: --data.labelled_sahre 1'
    """
    match = re.search(rf"(?:--data\.|option '|Key ')(?:data\.)?({'|'.join(_RENAMED)})\b", message)
    return message if match is None else f"data.{match[1]} is now {_RENAMED[match[1]]}"
