"""Recipes are read within bounds, and as the parser of recipes reads them."""

import math

import pytest
import yaml
from jsonargparse._loaders_dumpers import yaml_load

from dml.errors import UserError
from dml.runs import CONFIG, parse_yaml, read_recipe, read_recipe_file, read_to_score, recipe_text

SCALARS = (
    *(
        "1",
        "-1",
        "+3",
        "1_000",
        "0x10",
        "017",
        "1:30",
        "1.",
        "1.5",
        ".5",
        "-.5",
        "1e-4",
        "1E5",
        "1.5e3",
        "1e400",
        ".inf",
    ),
    *(
        "-.INF",
        ".nan",
        "true",
        "yes",
        "on",
        "null",
        "~",
        "''",
        "2026-11-21",
        "12:30:00",
        "1.2.3",
        "e5",
        "1e",
        "_1",
        "a: b",
    ),
    *("[1, 2e-3, [x]]", "{a: {b: 1e-6}}", "'1e-4'", '"x\\ty"', "1:30.5", "1_0.5", "dml.data.Digits", "résumé", "0.1e1"),
)


@pytest.mark.parametrize("text", SCALARS)
def test_values_are_those_of_the_parser(text):
    expected = yaml_load(f"key: {text}\nother: 1") if text != "a: b" else None
    if expected is None:
        return
    found = parse_yaml(f"key: {text}\nother: 1", "here")
    again = yaml_load(recipe_text(found))  # a run's recipe is handed on as text
    for value in (found["key"], again["key"]):
        same = value == expected["key"] or (isinstance(value, float) and math.isnan(value))
        assert same, (value, expected)
        assert type(value) is type(expected["key"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: &a [*a]", "refers to itself"),
        (
            "\n".join([f"a0: &a0 [{'x, ' * 10}]", *(f"a{i}: &a{i} [{f'*a{i - 1}, ' * 10}]" for i in range(1, 9))]),
            "100000",
        ),
        ("[" * 5000, "not valid YAML|nested too deeply"),
        ("x" * 300_000, "300000 characters"),
        ("!!python/object/apply:os.system [ls]", "not valid YAML"),
        ("a: b: c", "not valid YAML"),
        ("a: 0b2", None),
        ("a: 99999999-99-99", None),
    ],
)
def test_bounds(text, told):
    if told is None:
        assert parse_yaml(text, "here")
        return
    with pytest.raises(UserError, match=told) as caught:
        parse_yaml(text, "here.yaml")
    assert str(caught.value).startswith("here.yaml ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"- 1", b"3", b"1: 2", b"trainer: 3", b"evaluation: [1]", b"\xff\xfe\x00"])
def test_what_is_not_a_recipe_is_told(tmp_path, content):
    (tmp_path / "wrong.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"wrong\.yaml"):
        read_recipe_file(tmp_path / "wrong.yaml")


@pytest.mark.parametrize("missing", ["data", "model"])
def test_a_run_without_its_data_or_model_is_told(tmp_path, missing):
    recipe = {"model": {"class_path": "dml.modules.EmbeddingModule"}, "data": {"root": "photos"}}
    (tmp_path / CONFIG).write_text(yaml.safe_dump({k: v for k, v in recipe.items() if k != missing}))
    with pytest.raises(UserError, match=f"no block `{missing}:`"):
        read_recipe(tmp_path)


def test_scoring_a_run_downloads_nothing_and_makes_no_folder(tmp_path):
    nested = {"class_path": "dml.data.TorchDataset", "init_args": {"dataset": {"init_args": {"download": True}}}}
    for source in (
        "dml.data.TorchvisionSet",
        {"class_path": "dml.data.TorchvisionSet", "init_args": {"name": "X"}},
        nested,
    ):
        recipe = {"model": {}, "data": {"source": source, "cache_dir": str(tmp_path / "none"), "transform": {}}}
        (tmp_path / CONFIG).write_text(yaml.safe_dump(recipe))
        data = read_to_score(tmp_path)["data"]
        assert data.keys() == {"source"}
        arguments = data["source"]["init_args"]
        assert arguments.get("download", arguments.get("dataset", {}).get("init_args", {}).get("download")) is False
    recipe["data"]["cache_dir"] = str(tmp_path)
    (tmp_path / CONFIG).write_text(yaml.safe_dump(recipe))
    assert read_to_score(tmp_path)["data"]["cache_dir"] == str(tmp_path)
