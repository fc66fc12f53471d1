"""Large tables: what pyarrow reads is what the csv module reads."""

from pathlib import Path

import pytest

from dml.data import Manifest
from dml.data.sources import table as tables
from dml.data.sources.table import read_table
from dml.data.texts import Texts
from dml.errors import UserError

pytest.importorskip("pyarrow")
ROWS = ['a.png, rose ,"x, y"', "", '"b\n2.png",07,', "ç.png,NULL,nan"]


def write(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join([" path,label,note ", *rows]) + "\n", encoding="utf-8-sig")
    return path


def test_both_ways_read_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", ROWS)
    small, large = read_table(path), read_table(path, many=0)
    assert {type(column) for column in small.values()} == {list}
    assert {type(column) for column in large.values()} == {Texts}
    assert {name: list(column) for name, column in large.items()} == dict(small)
    assert small["label"] == ["rose", "07", "NULL"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [(["a,b,c,d"], "line 2: 4 cells for 3 columns"), ([], "has no rows"), (['a,"b'], "not a CSV in UTF-8")],
)
def test_bad_tables_are_told_alike(tmp_path: Path, rows: list[str], words: str) -> None:
    path = write(tmp_path / "t.csv", rows)
    for many in (10, 0):
        with pytest.raises(UserError, match=words):
            read_table(path, many)


def test_short_lines_are_filled_up(tmp_path: Path) -> None:
    assert list(read_table(write(tmp_path / "t.csv", ["a.png,rose", "b.png,iris,"]), many=0)["note"]) == ["", ""]


def test_a_large_manifest_is_the_same_catalog(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    rows = [f"{name},{i % 3},{('train', 'val', 'test')[i % 3]},{i % 4}" for i, name in enumerate(names)]
    path = folder / "t.csv"
    path.write_text("\n".join(["path,label,split,group", *rows]))
    small = Manifest(str(path)).open()
    monkeypatch.setattr(tables, "MANY", 0)
    monkeypatch.setattr(tables.read_table, "__defaults__", (0,))
    large = Manifest(str(path)).open()
    assert isinstance(large.names, Texts)
    assert large.names == small.names
    assert large.fingerprint == small.fingerprint
    assert (large.parts, large.class_names) == (small.parts, small.class_names)
    assert large.labels.tolist() == small.labels.tolist()
    assert large.groups.tolist() == small.groups.tolist()
    assert large.reader(7).size == small.reader(7).size
