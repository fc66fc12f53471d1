"""Names that moved into the studies say where they are now."""

import importlib

import pytest


@pytest.mark.parametrize("name", ["angles", "codes"])
def test_the_old_place_names_the_new_one(name):
    with pytest.raises(ImportError, match=f"dml.functional.{name} is now dml.studies.{name}"):
        getattr(importlib.import_module("dml.functional"), name)
