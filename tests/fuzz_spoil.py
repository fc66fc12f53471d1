"""Ways to spoil a file, for `fuzz_files.py`: its bytes, its text, or what stands in its place."""

import os
import random
from collections.abc import Callable
from pathlib import Path

TEXTS = (
    b"\0",
    b"\xff\xfe",
    b"NaN",
    b"1e999",
    b"-1",
    b"99999999999999999999",
    b"\x1b[2J",
    b"[" * 5000,
    b'"',
    b"&a [*a]",
)
TEXTS += (b"../../etc/passwd", b"/dev/zero", b",", b"\n", b"null", b"{}", b"[]", b"true", "\u202e".encode())
NUMBERS = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\0\x80")


def spoil_one(pattern: str, text: bool = False) -> Callable[[Path, random.Random], str]:
    """Return a spoiler of one of the files that match."""

    def spoil(folder: Path, rng: random.Random) -> str:
        path = rng.choice(sorted(path for path in folder.glob(pattern) if path.is_file()))
        how, content = spoilt(path.read_bytes(), rng, text)
        if content is None:
            path.unlink()
            replace_by(path, how)
        else:
            path.write_bytes(content)
        return f"{path.relative_to(folder)}: {how}"

    return spoil


def replace_by(path: Path, how: str) -> None:
    """Put something that is no file in a file's place."""
    if how == "fifo":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how in ("/dev/zero", "/proc/self/mem"):
        path.symlink_to(how)
    elif how == "loop":
        path.symlink_to(path)


def spoilt(content: bytes, rng: random.Random, text: bool) -> tuple[str, bytes | None]:
    """Return what was done and the spoilt bytes; None: put something else in the file's place."""
    how = rng.choice(["cut", "empty", "flip", "flip", "fill", "extend", "repeat", "swap", "number", "place", "text"])
    at = rng.randrange(len(content) + 1)
    if how == "cut":
        return f"cut at {at}", content[:at]
    if how == "empty":
        return how, b""
    if how == "extend":
        return how, content + rng.randbytes(rng.randrange(1, 200))
    if how == "repeat":
        return f"{how} at {at}", content[:at] + content[at // 2 :]
    if how == "swap":
        other, suffix = rng.choice(
            [(b"PK\x03\x04", b"zip"), (b"%PDF-1.4\n", b"pdf"), (b"GIF89a", b"gif"), (b"\x93NUMPY", b"npy")]
        )
        return f"swap by {suffix.decode()}", other + rng.randbytes(100)
    if how == "place":
        return rng.choice(["fifo", "folder", "/dev/zero", "loop", "nothing"]), None
    if how == "text" and text:
        word = rng.choice(TEXTS)
        return f"{word[:20]!r} at {at}", content[:at] + word + content[at + rng.choice([0, len(word)]) :]
    changed = bytearray(content or b"\0")
    if how == "number":
        at, word = rng.randrange(min(len(changed), 200)), rng.choice(NUMBERS)
        changed[at : at + 4] = word
        return f"{word!r} at {at}", bytes(changed)
    if how == "fill":
        changed[at : at + 50] = bytes([rng.choice([0, 255])]) * len(changed[at : at + 50])
        return f"fill at {at}", bytes(changed)
    places = [rng.randrange(len(changed)) for _ in range(rng.randrange(1, 6))]
    for place in places:
        changed[place] ^= 1 << rng.randrange(8)
    return f"flip at {places}", bytes(changed)
