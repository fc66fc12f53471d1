"""Names that moved into the studies say where they are now."""

import importlib

import pytest

MOVED = {
    "dml.functional.angles": "dml.studies.angles",
    "dml.functional.codes": "dml.studies.codes",
    "dml.neighbors.KNNBayes": "dml.studies.KNNBayes",
    "dml.neighbors.KNNDensity": "dml.studies.KNNDensity",
    "dml.neighbors.CrossValidation": "dml.studies.CrossValidation",
    "dml.neighbors.cross_validate": "dml.studies.cross_validate",
    "dml.neighbors.log_ball_volume": "dml.studies.log_ball_volume",
    "dml.reports.PlaneGrid": "dml.studies.figures.PlaneGrid",
    "dml.reports.correlation_maps": "dml.studies.figures.correlation_maps",
    "dml.reports.decision_boundaries": "dml.studies.figures.decision_boundaries",
    "dml.reports.density_maps": "dml.studies.figures.density_maps",
    "dml.reports.error_against_k": "dml.studies.figures.error_against_k",
    "dml.reports.error_bars": "dml.studies.figures.error_bars",
    "dml.reports.plane_grid": "dml.studies.figures.plane_grid",
    "dml.runs.merge_scores": "dml.runs.write_scores",
    "dml.data.Samples": "dml.data.Catalog",
    "dml.evaluation.gather_samples": "dml.embeddings.EmbeddingSet.gather",
}


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_the_old_place_names_the_new_one(old, new):
    room, _, name = old.rpartition(".")
    with pytest.raises(ImportError, match=f"{old} is now {new}"):
        getattr(importlib.import_module(room), name)


@pytest.mark.parametrize("new", [new for new in MOVED.values() if "gather" not in new])
def test_the_new_place_is_there(new):
    room, _, name = new.rpartition(".")
    module = importlib.import_module(room)
    assert hasattr(module, name) or importlib.import_module(new)


def test_a_module_without_the_name_says_so_as_ever():
    for room in ("dml.neighbors", "dml.reports", "dml.runs", "dml.data", "dml.evaluation", "dml.functional"):
        assert not hasattr(importlib.import_module(room), "no_such_name")
