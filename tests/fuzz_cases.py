"""The command lines of `fuzz_cli.py`: those that have a name, and what others are drawn from."""

import contextlib
import io
from importlib import import_module
from typing import Literal, NamedTuple

import hypothesis.strategies as st
import yaml

Expected = Literal["any", "refused", "done"]


class Case(NamedTuple):
    """A command line, and what must come of it where that is known."""

    words: tuple[str, ...]
    expected: Expected = "any"


SMALL = {
    "data.root": "photos",
    "data.batch_size": "6",
    "trainer.max_epochs": "1",
    "trainer.accelerator": "cpu",
    "trainer.enable_progress_bar": "false",
    "model.encoder.channels": "[4]",
    "evaluation.baselines": "false",
    "pictures.projection": "none",
    "pictures.gallery_queries": "1",
    "pictures.gallery_neighbors": "1",
}
FIT = ("fit", *(f"--{key}={value}" for key, value in SMALL.items()))

# values that make no sense for a key, each of which must be refused
_NUMBERS = ("nan", "inf", "-inf", "x", "", "1e400", "[1]", "{}")
_NEGATIVE = ("-1", "-0.5", *_NUMBERS)
_COUNT = ("0", "-1", "1.5", "nan", "inf", "x", "", "1e400", "[1]")
_SHARE = ("1.5", "-0.1", *_NUMBERS)
REFUSED: dict[str, tuple[str, ...]] = {
    "seed_everything": ("-1", "4294967296", "1.5", "x", "nan", "[0]"),
    "trainer.accelerator": ("cpuu", "", "1", "[cpu]"),
    "trainer.strategy": ("nonsense", "", "1"),
    "trainer.devices": ("0", "x", "-5", "[]", "1.5"),
    "trainer.precision": ("17", "half", "", "-32"),
    "trainer.max_epochs": ("-5", "1.5", "nan", "x", "0"),
    "trainer.max_steps": ("-5", "1.5", "x", "0"),
    "trainer.max_time": ("x", "1", "-1", "00:00"),
    "trainer.limit_train_batches": ("-1", "1.5", "nan", "x"),
    "trainer.limit_val_batches": ("-1", "1.5", "nan", "x", "0"),
    "trainer.check_val_every_n_epoch": ("0", "-1", "x"),
    "trainer.accumulate_grad_batches": ("0", "-1", "1.5", "x"),
    "trainer.gradient_clip_val": ("-1", "nan", "x"),
    "trainer.overfit_batches": ("-1", "1.5", "nan", "x"),
    "trainer.log_every_n_steps": ("-1", "1.5", "x"),
    "model.encoder.embedding_dim": (*_COUNT, "1000000000"),
    "model.encoder.channels": ("[]", "[0]", "[-1]", "[1.5]", "x", "8", "[1000000000]"),
    "model.encoder.dropout": ("1", *_SHARE),
    "model.encoder.first_stride": _COUNT,
    "model.loss.margin": _NEGATIVE,
    "model.loss.mining": ("x", "", "1"),
    "model.optimizer.lr": _NEGATIVE,
    "model.optimizer.weight_decay": _NEGATIVE,
    "model.chunk_size": _COUNT,
    "data.image_size": (*_COUNT, "[8]", "[8,0]", "1000000"),
    "data.batch_size": ("1", *_COUNT),
    "data.eval_batch_size": _COUNT,
    "data.classes_per_batch": ("1", "0", "-1", "1.5", "x"),
    "data.labelled_per_class": _COUNT,
    "data.labelled_share": ("0", *_SHARE),
    "data.mean": ("nan", "inf", "x", "[]", "[1,2]"),
    "data.std": ("0", "-1", "nan", "inf", "x", "[]", "[1,2]"),
    "data.workers": _NEGATIVE,
    "data.memory_limit": _NEGATIVE,
    "data.channels": ("2", "0", "x"),
    "data.on_error": ("x", ""),
    "data.split.val": _SHARE,
    "data.split.test": _SHARE,
    "data.split.seed": ("-1", "1.5", "x", "nan"),
    "evaluation.k": (*_COUNT, "5000"),
    "evaluation.ks": ("[]", "[0]", "[-1]", "[1.5]", "x"),
    "evaluation.metric": ("x", "", "1"),
    "evaluation.max_memory": ("x", "0", "-1GiB", "nan"),
    "pictures.max_points": _COUNT,
    "pictures.gallery_queries": _COUNT,
    "pictures.gallery_neighbors": _COUNT,
    "pictures.every_n_epochs": ("-1", "1.5", "nan", "x"),
    "pictures.projection": ("x", ""),
    "checkpoint.monitor": ("val/nothing", "x"),
    "checkpoint.mode": ("x", "1"),
}
AUGMENTED = {
    **dict.fromkeys(("brightness", "contrast", "saturation", "rotate", "scale", "translate", "blur"), _NEGATIVE),
    **dict.fromkeys(("flip", "vertical_flip", "erase", "resized_crop"), _SHARE),
    "hue": ("0.6", *_NEGATIVE),
    "crop_padding": ("-1", "1.5", "nan", "x"),
    "erase_area": ("0", *_SHARE),
    "border": ("x", ""),
}
OPTIONS_REFUSED: dict[str, dict[str, tuple[str, ...]]] = {
    "compare first first": {"level": ("0", "1", "2", "-1", "nan", "x"), "seed": ("-1", "x"), "split": ("x",)},
    "project --run first --method pca": {"max_points": ("0", "1", "-1", "x", "1.5"), "method": ("x", "")},
    "evaluate --run first": {
        "ks": ("0", "-1", "x", "1.5", ""),
        "knn_ks": ("0", "-1", "x", "5000", ""),
        "metric": ("x", ""),
        "max_memory": ("x", "0", "-1"),
        "estimator": ("x", "os.system", "nowhere.Classifier"),
        "split": ("train",),
    },
    "probe first --methods linear --per_class 1 --seeds 0 --steps 2": {
        "lr": ("-1", "nan", "inf", "0", "x"),
        "encoder_lr": ("-1", "nan", "inf", "0", "x"),
        "steps": ("0", "-1", "x", "1.5"),
        "batch_size": ("0", "-1", "x"),
        "hidden": ("0", "-1", "x"),
        "k": ("0", "-1", "x"),
        "seeds": ("-1", "x", ""),
        "methods": ("x", ""),
        "per_class": ("0", "-1", "x", "5000"),
    },
    "audit --data.root photos --data.image_size 8": {"near": ("nan", "-2", "x")},
    "sweep": {
        "over": ("x", "model.loss.margin", "model.loss.margin=", "data.nothing=1", "model.loss.margin=1:0:3"),
        "trials": ("0", "-1", "x"),
        "search_seed": ("-1", "x"),
        "seeds": ("-1", "x", ""),
        "parallel": ("0", "-1", "x"),
        "score": ("x", "val/nothing"),
        "mode": ("x",),
        "search": ("x",),
    },
}
EDGES = (
    *("0", "-1", "1", "0.5", "-0.5", "nan", "inf", "-inf", "1e400", "1e-400", "99999999999999999999", "0x10"),
    *(
        "",
        " ",
        "\t",
        "\n",
        "\x1b[31mred",
        "\x07",
        "ä",
        "漢字",
        "🙂",
        "a" * 300,
        "null",
        "~",
        "true",
        "false",
        "[]",
        "{}",
    ),
    *(
        "{}",
        "[1, 2, 3]",
        "[[1], [2]]",
        "{a: {b: {c: 1}}}",
        "{class_path: os.system}",
        "{class_path: 3}",
        "&a [*a]",
        "*a",
    ),
    *("{class_path: torch.optim.Adam, init_args: {lr: -1}}", "os.system", "torch.os.system", "torch.hub.load", "a.b.c"),
    *("dml.encoders", "dml.encoders.Nothing", "torch.nn.Linear", "photos", "missing", "missing.yaml", "/", "."),
    *("broken.yaml", "loop.yaml", "photos/a/0.png", "!!python/object/apply:os.system [ls]", "{", "]", ":", "- a", "%"),
)
NEVER = ("trainer.devices", "trainer.num_nodes", "trainer.max_epochs", "trainer.max_steps")  # long or many by right
FILES = {
    "broken.yaml": "model: {class_path: [",
    "loop.yaml": "data: &a\n  root: photos\n  again: *a\n",
    "laughs.yaml": "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "list.yaml": "- 1\n- 2\n",
    "number.yaml": "3\n",
    "empty.yaml": "",
    "tab.yaml": "model:\n\tclass_path: x\n",
    "python.yaml": "!!python/object/apply:os.system ['touch pwned']\n",
    "nodata.yaml": "seed_everything: 0\n",
    "deep.yaml": "[" * 1200 + "]" * 1200,
    "stages.yaml": "stages: [{name: a}, {name: a}]\n",
}


def named_cases() -> list[Case]:
    """Return the mistakes that were once accepted, hung, or ended in a traceback."""
    cases = [
        Case((*FIT, f"--{key}={value}"), "refused")
        for key, value in (
            *(("trainer.accelerator", "cpuu"), ("trainer.strategy", "nonsense"), ("seed_everything", "-1")),
            *(("seed_everything", "99999999999999999999"), ("data.eval_batch_size", "0"), ("data.workers", "-1")),
            *(("model.encoder.dropout", "-0.1"), ("model.loss.margin", "-1"), ("data.memory_limit", "-1")),
            *(
                ("name", "a" * 300),
                ("name", "a\nb"),
                ("name", "\x1b[31m"),
                ("name", ""),
                ("runs_dir", "photos/a/0.png"),
            ),
        )
    ]
    cases += [
        Case((*FIT, "--data.transform=dml.data.Augmentation", "--data.transform.brightness=-0.5"), "refused"),
        *(Case((*FIT, f"--config={file}"), "refused") for file in FILES if file not in {"nodata.yaml", "empty.yaml"}),
        *(Case(("stages", "--config", file), "refused") for file in FILES),
        *(Case((*FIT, f"--trainer.precision={precision}")) for precision in ("bf16-true", "16-true", "64-true")),
        Case((*FIT, "--seed_everything=true")),
        Case((*FIT, "--data.batch_size=1000000000"), "done"),
        Case((*FIT, "--data.split.val=0.1"), "done"),
        Case((*FIT, "--data.split=dml.data.ClassDisjointSplit", "--data.split.val=1", "--data.split.test=0"), "any"),
        Case(("evaluate", "--run", "nodata"), "refused"),
        Case(("validate", "--run", "nodata"), "refused"),
        Case(("audit", "--run", "nodata"), "refused"),
        Case(("evaluate", "--run", "evil"), "any"),
        Case(("evaluate", "--run", "first"), "done"),
        Case(("validate", "--run", "first"), "done"),
        Case(("fit", "--config", "photos"), "refused"),
        Case(("test", "--run", "photos"), "refused"),
        Case(("evaluate", "--embeddings", "photos", "--labels", "photos"), "refused"),
    ]
    return cases


def recipe_keys() -> list[str]:
    """Return the dotted keys of the complete default recipe, as the real parser prints it."""
    from dml.cli import main

    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        main(["fit", "--print_config"])
    return sorted({key.replace(".init_args", "") for key in _flat("", yaml.safe_load(text.getvalue()))})


def _flat(prefix: str, block: object) -> list[str]:
    if not isinstance(block, dict) or not block:
        return [prefix.removeprefix(".")]
    return [key for name, value in block.items() for key in _flat(f"{prefix}.{name}", value)]


def verb_options() -> dict[str, list[str]]:
    """Return the options of each verb's real parser."""
    from dml.cli import VERBS, module_of

    parsers = {verb: import_module(module_of(verb)).build_parser() for verb in VERBS}
    return {
        verb: [word for action in parser._actions for word in action.option_strings if word.startswith("--")]
        for verb, parser in parsers.items()
    }


@st.composite
def command_lines(draw: st.DrawFn, keys: list[str], options: dict[str, list[str]]) -> Case:
    """Draw a command line with one, two or three mistakes in it."""
    kind = draw(st.sampled_from(("refused", "refused", "augmented", "option", "edge", "edge", "verb", "unknown")))
    if kind == "refused":
        key = draw(st.sampled_from(sorted(REFUSED)))
        return Case((*FIT, f"--{key}={draw(st.sampled_from(REFUSED[key]))}"), "refused")
    if kind == "augmented":
        key = draw(st.sampled_from(sorted(AUGMENTED)))
        value = draw(st.sampled_from(AUGMENTED[key]))
        return Case((*FIT, "--data.transform=dml.data.Augmentation", f"--data.transform.{key}={value}"), "refused")
    if kind == "option":
        verb = draw(st.sampled_from(sorted(OPTIONS_REFUSED)))
        option = draw(st.sampled_from(sorted(OPTIONS_REFUSED[verb])))
        value = draw(st.sampled_from(OPTIONS_REFUSED[verb][option]))
        words = verb.split()
        if verb == "sweep":
            over = () if option == "over" else ("--over", "model.loss.margin=0.1")
            search = ("--search", "random") if option in {"trials", "search_seed"} else ()
            words = ["sweep", *FIT[1:], *over, *search]
        return Case((*words, f"--{option}={value}"), "refused")
    value = draw(st.one_of(st.sampled_from(EDGES), st.text(max_size=8).filter(lambda text: "\x00" not in text)))
    value = value.encode("utf-8", "replace").decode()
    if kind == "edge":
        key = draw(st.sampled_from([key for key in keys if key not in NEVER]))
        form = draw(
            st.sampled_from(((f"--{key}={value}",), (f"--{key}", value), (f"--{key}",), (f"--{key}={value}",) * 2))
        )
        return Case((*FIT, *form))
    if kind == "unknown":
        key = draw(st.sampled_from(keys))
        place = draw(st.integers(0, len(key)))
        wrong = f"{key[:place]}{draw(st.sampled_from(('x', '.', '', '_', '..')))}{key[place + 1 :]}"
        return Case((*FIT, *(() if wrong in NEVER else (f"--{wrong}={value}",))))
    verb = draw(st.sampled_from(sorted(options)))
    option = draw(st.sampled_from(options[verb] or ["--help"]))
    base = {
        **{"fit": FIT[1:], "compare": ("first", "first"), "report": ("first",), "completion": ("bash",)},
        **{"probe": ("first", "--methods", "linear", "--per_class", "1", "--seeds", "0", "--steps", "2")},
        **{"audit": ("--run", "first"), "stages": ("--config", "stages.yaml")},
        "sweep": (*FIT[1:], "--over", "model.loss.margin=0.1"),
    }.get(verb, ("--run", "first"))
    words = (verb, *base, *draw(st.sampled_from(((f"{option}={value}",), (option, value), (option,), (value,)))))
    swapped = draw(st.sampled_from((verb, verb, verb, verb.upper(), "validte", value)))
    return Case((swapped, *words[1:]))
