"""One clear line out of the parser's nested reports."""

import pytest

from dml.cli.recipe.messages import one_line, with_key
from dml.runs.trust import NAMED

_NESTED = """Parser key "model":
  Does not validate against any of the Union subtypes
  Subtypes: [<class 'dml.modules.base.TrainableModule'>, <class 'NoneType'>]
  Errors:
    - Problem with given class_path 'dml.modules.EmbeddingModule':
        Parser key "loss":
          Problem with given class_path 'dml.losses.TripletLoss':
            Option 'marginn' is not accepted
    - Expected a <class 'NoneType'>
  Given value type: <class 'jsonargparse._util.NestedArg'>
  Given value: NestedArg(key='loss.marginn', val='0.5')"""

_UNION = """Parser key "trainer.max_epochs":
  Does not validate against any of the Union subtypes
  Subtypes: [<class 'int'>, <class 'NoneType'>]
  Errors:
    - Expected a <class 'int'>
    - Expected a <class 'NoneType'>
  Given value type: <class 'str'>
  Given value: many"""

_CLASS = """Parser key "model":
  Does not validate against any of the Union subtypes
  Errors:
    - Problem with given class_path 'dml.modules.EmbeddingModule':
        Parser key "encoder":

          - Expected a path but torch.nn.Linear either not accessible or invalid
          - Import path torch.nn.Linear does not correspond to a subclass of Encoder
    - Expected a <class 'NoneType'>
  Given value: NestedArg(key='encoder', val='torch.nn.Linear')"""


_OPTIMIZER = """Parser key "model":
  Errors:
    - Problem with given class_path 'dml.modules.EmbeddingModule':
        Parser key "optimizer":
          Type typing.Callable[[collections.abc.Iterable], torch.optim.optimizer.Optimizer] expects a function or a \
callable class: Parser key "lr":
            Does not validate against any of the Union subtypes
            Errors:
              - Expected a <class 'float'>
            Given value: {}. Got value: Namespace(class_path='torch.optim.Adam', init_args=Namespace(lr={}))
  Given value: NestedArg(key='optimizer.lr', val={})"""

_DENIED = """Parser key "model":
    - Problem with given class_path 'dml.modules.EmbeddingModule':
        Parser key "encoder":
          - Problem with given class_path 'evil.Encoder':
            Importing 'evil.Encoder' is not allowed, denied by the '*' entry of the import path denylist. Add ...
  Given value: {'class_path': 'dml.modules.EmbeddingModule'}"""


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (
            _NESTED,
            "model.loss: Option 'marginn' is not accepted, got 0.5 (of dml.losses.TripletLoss) "
            "(did you mean --model.loss.margin?)",
        ),
        (_UNION, "trainer.max_epochs: 'many' is not a whole number"),
        (
            _CLASS,
            "model.encoder: Import path torch.nn.Linear does not correspond to a subclass of Encoder, "
            "got torch.nn.Linear (of dml.modules.EmbeddingModule)",
        ),
        ("Parser key \"config\": File does not exist: 'x.yaml'", "config: File does not exist: 'x.yaml'"),
        ("No supported gpu backend found!", "No supported gpu backend found!"),
        (_OPTIMIZER, "model.optimizer.lr: expected float (of dml.modules.EmbeddingModule)"),
        (_DENIED, "model.encoder: evil.Encoder is not of " + NAMED + ": if you trust its author, add --trust evil"),
    ],
)
def test_the_key_and_the_reason_are_told_in_one_line(message, line):
    assert one_line(message) == line
    assert "\n" not in line


def test_a_misspelt_key_of_a_file_is_told_with_the_nearest():
    assert one_line("Option 'dat.root' is not accepted", ["data.root", "name"]).endswith("(did you mean --data.root?)")


def test_the_key_of_an_argument_is_told_where_it_stands_once():
    recipe = {
        "model": {"init_args": {"encoder": {"init_args": {"dropout": 2.0}}, "head": {"init_args": {"dropout": 0.5}}}}
    }
    assert with_key("dropout=2.0: give less", recipe) == "model.encoder.dropout=2.0: give less"
    assert with_key("dropout=3.0: give less", recipe) == "dropout=3.0: give less"
    assert with_key("trainer.devices=2: no", recipe) == "trainer.devices=2: no"
