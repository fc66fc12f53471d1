"""The errors that are reported in one clear line, without a traceback; each has its exit code."""

import re
import unicodedata
from typing import ClassVar

_ACTING = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control, format (among them the bidi overrides), surrogates, line ends
_SECRET = ("password", "sslpassword", "passphrase")  # in the query of an address
_JOINERS = "\u200c\u200d"  # format characters that scripts and emoji are written with


class UserError(ValueError):
    """A mistake outside the code: a missing folder, a wrong key, a class with one image.

    The message is one line that says what is wrong and how to fix it. It is a `ValueError`, so code that uses the
    library (and scikit-learn's estimator checks) can catch it as one; the front door prints the line and exits with
    code 2.

    Example:
        >>> raise UserError("no folder 'photos': give an existing one")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no folder 'photos': give an existing one
    """

    exit_code: ClassVar[int] = 2


class LostProcessError(UserError):
    """One of the processes that train together died; the run can be resumed.

    Example:
        >>> LostProcessError.exit_code
        5
    """

    exit_code = 5


class LostTrainingError(UserError):
    """Training that no longer learns: it diverged, or its embedding collapsed.

    Example:
        >>> LostTrainingError.exit_code
        4
    """

    exit_code = 4


class ToldElsewhereError(UserError):
    """A mistake that another process of the same training tells the user; this one ends without a word.

    Example:
        >>> ToldElsewhereError.exit_code
        2
    """


def printable(text: str, lines: bool = False) -> str:
    r"""Return text that is safe to show on a terminal or a page: characters that would act there become escapes.

    Args:
        text: Anything, such as a file's name: it may hold control characters, overrides of the direction of writing,
            or bytes that are not UTF-8.
        lines: Whether line ends and tabs are kept.

    Example:
        >>> print(printable("a\x1b[2J\u202eb\udcff\n"))
        a\x1b[2J\u202eb\udcff\n
    """
    if text.isprintable():
        return text
    kept = _JOINERS + "\n\t" if lines else _JOINERS
    acts = {c for c in set(text) if unicodedata.category(c) in _ACTING and c not in kept}
    return text.translate({ord(c): c.encode("unicode_escape").decode() for c in acts})


def without_password(text: str) -> str:
    """Return a text without the passwords of the addresses in it.

    Example:
        >>> without_password("no server at postgresql://me:se:cr@t@db/x?password=abc&table=y")
        'no server at postgresql://me:***@db/x?password=***&table=y'
    """
    text = re.sub(r"(://[^/@\s:]*):[^/\s]*@", r"\1:***@", text)
    return re.sub(rf"(?i)([?&](?:{'|'.join(_SECRET)})=)[^&\s]*", r"\1***", text)


def reason_of(error: BaseException) -> str:
    """Return why something failed in a few words: the error's first line, or its kind if it says nothing.

    Example:
        >>> reason_of(KeyError()), reason_of(OSError(2, "No such file or directory", "x.png"))
        ('KeyError', 'No such file or directory')
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, KeyError) and error.args:
        return f"there is no {error}"
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
