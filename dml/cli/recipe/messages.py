"""Turns the parser's report on a wrong recipe into one line: the key, what is wrong with it, the nearest right key."""

import re
from collections.abc import Sequence

from dml import runs
from dml.cli.recipe.suggestions import kind_of, meant_by_word, nearest_argument, nearest_class, nearest_key

_NOISE = (
    *("Does not validate", "- Does not validate", "Subtypes:", "Errors:", "Given value type:", "Subclass types expect"),
    *("- Expected a <class 'NoneType'>", "- a class path (str)", "- a dict with"),
)


def one_line(message: str, keys: Sequence[str] = ()) -> str:
    """Return the parser's message as one line that begins with the full key.

    Args:
        message: The parser's own, over several lines where types are nested.
        keys: All existing keys, of which the nearest is proposed for an unknown one.

    Example:
        >>> one_line("unrecognized arguments: --data.batch_sise 5", ["data.batch_size"])
        'unrecognized arguments: --data.batch_sise 5 (did you mean --data.batch_size?)'
    """
    from dml.data.renamed import name_renamed_keys  # importing the room loads torch, which --help must not

    if (renamed := name_renamed_keys(message)) != message:
        return renamed
    path, owner, reasons, value = _parts(message)
    if refused := runs.refused_import(message):
        return f"{path}: {refused}" if path else refused
    if plain := _plainly(path, reasons, value):
        return plain
    if owner and (needed := re.match(r"the following arguments are required: (.*)", " or ".join(reasons))):
        return _missing(path, owner, needed[1].split(", "))
    text = " or ".join(dict.fromkeys(reasons))
    if value is not None and not text.endswith(value):
        text += f", got {value}"
    if owner and owner not in text:
        text += f" (of {owner})"
    if match := re.match(r"(?:unrecognized arguments: (--)?|Option ')([^\s'=]+)", text):
        word = match[2]
        alone = text.startswith("unrecognized") and not match[1]
        if argument := nearest_argument(owner, word):
            near = f"--{path}.{argument}"
        else:
            near = meant_by_word(word) if alone else f"--{found}" if (found := nearest_key(word, keys)) else ""
        text += f" (did you mean {near}?)" if near else ""
    return f"{path}: {text}" if path else text


def with_key(message: str, config: object) -> str:
    """Return a constructor's message about an argument, `margin=-1: ...`, with the argument's recipe key before it.

    Args:
        message: From a constructor, which knows its arguments but not where they are in the recipe.
        config: The parsed recipe; if the argument is in it more than once, nothing is added.

    Example:
        >>> with_key("margin=-1: give more", {"model": {"init_args": {"loss": {"init_args": {"margin": -1}}}}})
        'model.loss.margin=-1: give more'
    """
    match = re.match(r"(\w+)=([^:]*): ", message)
    found = [] if match is None else list(_keys_of(match[1], match[2], config, ""))
    return message.replace(found[0].rpartition(".")[2], found[0], 1) if len(found) == 1 else message


def _keys_of(name: str, value: str, config: object, key: str) -> list[str]:
    entries = vars(config) if type(config).__name__ == "Namespace" else config
    if not isinstance(entries, dict):
        return []
    found = [f"{key}{name}"] if name in entries and str(entries[name]) == value else []
    for inner, block in entries.items():
        found += _keys_of(name, value, block, key if inner == "init_args" else f"{key}{inner}.")
    return found


def _plainly(path: str, reasons: Sequence[str], value: str | None) -> str:
    """Say in plain words that a value is not a number or that a class does not exist; "" for any other mistake."""
    found = [re.fullmatch(r"expected ([\w ]+?)(?:: (?P<text>.*)|\. Got value: (?P<got>.*))?", each) for each in reasons]
    if not found or not all(found):
        return ""
    matches = [match for match in found if match]
    expected = {match[1] for match in matches}
    given = value if value is not None else next((told for m in matches if (told := m["text"] or m["got"])), None)
    if given is None:
        return ""
    if expected & {"float", "int"} and expected <= {"float", "int", "dot import path string"}:
        return f"{path}: {given!r} is not a {'number' if 'float' in expected else 'whole number'}"
    if expected == {"dot import path string"}:
        near, kind = nearest_class(path, given), kind_of(path)
        mend = f"did you mean {near}?" if near else "give a class by its import path, as in torch.nn.MSELoss"
        return f"{path}: no class {given!r}: {mend}" + (f" (`dml list {kind}` names them)" if kind else "")
    return ""


def _missing(path: str, owner: str, names: Sequence[str]) -> str:
    """Return which arguments a class lacks, and how to give them."""
    keys = [f"--{path}.{name}" if path else f"--{name}" for name in names]
    listed = [kind for name in names if (kind := kind_of(name))]
    more = f" (see {' and '.join(f'`dml list {kind}`' for kind in listed)})" if listed else ""
    return f"{path}: {owner} needs {' and '.join(names)}: give {' and '.join(keys)}{more}"


def _parts(message: str) -> tuple[str, str, list[str], str | None]:
    """Return the full key, the class it belongs to, the reasons, and the value that was given."""
    path: list[str] = []
    owner, reasons, value = "", [], None
    for line in (raw.rpartition("expects a function or a callable class: ")[2].strip() for raw in message.splitlines()):
        if key := re.match(r'Parser key "([^"]+)":\s*(.*)', line):
            path.append(key[1])
            reasons = [key[2]] if key[2] else []
        elif match := re.match(
            r"- Problem with given class_path '([^']+)':|Problem with given class_path '([^']+)':", line
        ):
            owner = match[1] or match[2]
        elif line.startswith("Given value:"):
            given = line.removeprefix("Given value:").strip().partition(". Got value: Namespace(")[0] or "nothing"
            nested = re.match(r"NestedArg\(key='([^']*)', val='(.*)'\)", given)
            # the innermost value comes first; a whole block of the recipe says nothing
            value = value or (nested[2] if nested else None if _is_block(given) else given)
        elif line and not line.startswith(_NOISE) and "Expected a path but" not in line:
            reasons.append(_plain(line))
    return ".".join(path), owner, reasons, value


def _is_block(given: str) -> bool:
    return given.startswith(("{", "[{")) or "Namespace(" in given or "NestedArg(" in given


def _plain(line: str) -> str:
    said, got, given = line.partition(". Got value: ")
    line = said if got and _is_block(given) else line
    line = re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", line.removeprefix("- "))
    return re.sub(r"^Expected an? (?:typing\.)?", "expected ", line)
