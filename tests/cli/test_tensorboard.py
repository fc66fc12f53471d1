"""What TensorBoard shows of a run: steps, curves, pictures, recipe, and the scores of the best checkpoint."""

from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from dml import runs

RUN = Path("runs/first")
SIZES = {"scalars": 0, "images": 0, "histograms": 0, "tensors": 0}


def _events():
    """Return the events of each file, the curves' first."""
    files = sorted(RUN.glob("events.out.tfevents.1*"), key=lambda path: path.name)
    return [EventAccumulator(str(file), size_guidance=SIZES).Reload() for file in files]


def _points(files, name):
    return [(point.step, point.value) for events in files for point in _scalars(events, name)]


def _scalars(events, name):
    return events.Scalars(name) if name in events.Tags()["scalars"] else []


def _recipe():
    """Return the recipe's text and the values of HPARAMS."""
    events = EventAccumulator(str(RUN / "events.out.tfevents.0.recipe"), size_guidance=SIZES).Reload()
    (text,) = events.Tensors("recipe/text_summary")
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    values = metadata.parse_session_start_info_plugin_data(content).hparams
    told = {
        key: value.number_value if value.HasField("number_value") else value.string_value
        for key, value in values.items()
    }
    return text.tensor_proto.string_val[0].decode(), told


def test_curves_stand_over_optimiser_steps_and_a_resumed_run_goes_on_with_them(dml, small):
    assert dml("fit", "--name", "first", *small, "--trainer.log_every_n_steps=50")[0] == 0
    files = _events()
    names = {name for events in files for name in events.Tags()["scalars"]}
    assert not names & {"epoch", "hp_metric", "lr-Adam"}
    assert [step for step, _ in _points(files, "train/loss")] == list(range(1, 21))  # 2 epochs of 10 steps, all of them
    assert [step for step, _ in _points(files, "val/map_at_r")] == [10, 20]
    assert {step for step, _ in _points(files, "train/lr-Adam")} == set(range(20))  # the rate of the step to come
    weight = "weights/encoder.projection.weight"
    assert [point.step for point in files[0].Histograms(weight)] == [10, 20]
    galleries = [events.Images("gallery") for events in files if "gallery" in events.Tags()["images"]]
    assert [point.step for points in galleries for point in points] == [20]
    scores = runs.read_json(RUN / "scores.json")["val"]
    for name in ("map_at_r", "knn_accuracy", "loss"):
        ((step, value),) = _points(files, f"best/{name}")
        assert (step, value) == (20, np.float32(scores[name]))
    text, told = _recipe()
    assert "    trainer:" in text
    assert told["model.encoder"] == "ConvEncoder"
    assert told["model.encoder.channels"] == "[8, 16]"
    assert told["trainer.max_epochs"] == 2
    assert not (RUN / "hparams.yaml").exists()

    assert dml("fit", "--name", "first", "--ckpt_path", "last", "--trainer.max_epochs=3")[0] == 0
    files = _events()
    assert [step for step, _ in _points(files, "val/map_at_r")] == [10, 20, 30]
    assert [step for step, _ in _points(files, "best/map_at_r")] == [20, 30]
    assert len(list(RUN.glob("*.recipe"))) == 1
    assert _recipe()[1]["trainer.max_epochs"] == 3
