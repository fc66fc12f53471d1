"""The present names of `data` keys that were renamed."""

import re

_RENAMED = {
    "augmentation": "data.transform: {class_path: dml.data.Augmentation, init_args: {...}}",
    "labelled": "data.labelled_per_class (images of each class) or data.labelled_share (within 0..1)",
}


def name_renamed_keys(message: str) -> str:
    """Return the parser's message about an unknown key or, for an old key, what it is called now.

    Example:
        >>> name_renamed_keys("unrecognized arguments: --data.augmentation.flip 1")
        'data.augmentation is now data.transform: {class_path: dml.data.Augmentation, init_args: {...}}'
        >>> name_renamed_keys("unrecognized arguments: --data.labelled_sahre 1")
        'unrecognized arguments: --data.labelled_sahre 1'
    """
    match = re.search(rf"(?:--data\.|option '|Key ')(?:data\.)?({'|'.join(_RENAMED)})\b", message)
    return message if match is None else f"data.{match[1]} is now {_RENAMED[match[1]]}"
