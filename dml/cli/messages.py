"""Makes one line of what the parser says of a wrong recipe: the key, what is wrong with it, the nearest right key."""

import re
from collections.abc import Sequence
from difflib import get_close_matches

_NOISE = ("Does not validate", "Subtypes:", "Errors:", "Given value type:", "- Expected a <class 'NoneType'>")


def one_line(message: str, keys: Sequence[str] = ()) -> str:
    """Return the parser's message as one line that begins with the full key.

    Args:
        message: The parser's own, over several lines where types are nested.
        keys: All keys there are, of which the nearest is proposed for an unknown one.

    Example:
        >>> one_line("unrecognized arguments: --data.batch_sise 5", ["data.batch_size"])
        'unrecognized arguments: --data.batch_sise 5 (did you mean --data.batch_size?)'
    """
    from dml.data.renamed import name_renamed_keys  # importing the room loads torch, which --help must not

    if (renamed := name_renamed_keys(message)) != message:
        return renamed
    path, owner, reasons, value = _parts(message)
    text = " or ".join(dict.fromkeys(reasons))
    if value is not None and not text.endswith(value):
        text += f", got {value}"
    if owner and owner not in text:
        text += f" (of {owner})"
    if match := re.match(r"(?:unrecognized arguments: --|Option ')([\w.]+)", text):
        near = get_close_matches(match[1], keys, n=1)
        text += f" (did you mean --{near[0]}?)" if near else ""
    return f"{path}: {text}" if path else text


def _parts(message: str) -> tuple[str, str, list[str], str | None]:
    """Return the full key, the class it belongs to, the reasons, and the value that was given."""
    path: list[str] = []
    owner, reasons, value = "", [], None
    for line in (raw.strip() for raw in message.splitlines()):
        if key := re.match(r'Parser key "([^"]+)":\s*(.*)', line):
            path.append(key[1])
            reasons = [key[2]] if key[2] else []
        elif match := re.match(
            r"- Problem with given class_path '([^']+)':|Problem with given class_path '([^']+)':", line
        ):
            owner = match[1] or match[2]
        elif line.startswith("Given value:"):
            given = line.removeprefix("Given value: ")
            nested = re.match(r"NestedArg\(key='([^']*)', val='(.*)'\)", given)
            # the innermost value comes first; a whole block of the recipe says nothing
            value = value or (nested[2] if nested else None if given.startswith("{") else given)
        elif line and not line.startswith(_NOISE) and "Expected a path but" not in line:
            reasons.append(_plain(line))
    return ".".join(path), owner, reasons, value


def _plain(line: str) -> str:
    line = re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", line.removeprefix("- "))
    return re.sub(r"^Expected an? (?:typing\.)?", "expected ", line)
