"""Networks of torchvision and timm: their own preprocessing, weights by path offline, clear lines for misfits."""

import pytest
import torch
from torch import nn
from torchvision.models import get_model, get_model_weights

from dml.data import ImageData
from dml.encoders import TimmEncoder, TorchvisionEncoder, encoder_hash, layers_of, materialize
from dml.errors import UserError
from dml.modules.checks import check_scale


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(get_model("resnet18").state_dict(), path)
    return path


def test_it_is_the_network_without_its_last_layer_on_images_as_the_card_wants_them(file):
    network = get_model("resnet18")
    network.load_state_dict(torch.load(file))
    network.fc = nn.Identity()
    encoder = TorchvisionEncoder("resnet18", weights=str(file)).eval()
    pixels = torch.randint(0, 256, (2, 3, 256, 256), dtype=torch.uint8)
    # data.image_size 224 does what the card's resize and crop do; here the crop alone
    cropped = pixels[:, :, 16:240, 16:240]
    card = get_model_weights("resnet18").DEFAULT.transforms()
    expected = network.eval()(card(pixels))
    found = encoder(cropped.float() / 127.5 - 1)  # what ImageData gives with its own mean and std
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_other_sizes_are_resized_to_the_cards_where_there_are_weights(file):
    sizes = []
    for encoder in (TorchvisionEncoder("resnet18", str(file)), TorchvisionEncoder("resnet18")):
        sizes.append(encoder.preprocess(torch.zeros(1, 3, 40, 40)).shape[-1])
    assert sizes == [224, 40]
    assert TorchvisionEncoder("resnet18", str(file), image_size=64).preprocess(torch.zeros(1, 3, 9, 9)).shape[-1] == 64
    assert TorchvisionEncoder("resnet18").preprocessing.image_size == 224


def test_a_projection_and_grey_images():
    encoder = TorchvisionEncoder("resnet18", embedding_dim=7)
    assert materialize(encoder, (1, 32, 32)) == (7,)
    assert materialize(TorchvisionEncoder("resnet18"), (3, 32, 32)) == (512,)


@pytest.mark.parametrize("name", ["vgg11", "mobilenet_v3_small", "densenet121", "vit_b_32"])
def test_other_families(name):
    assert len(materialize(TorchvisionEncoder(name), (3, 224, 224))) == 1


@pytest.mark.filterwarnings("ignore:The default weight initialization:FutureWarning")  # torchvision's
@pytest.mark.parametrize(("name", "side"), [("googlenet", 64), ("inception_v3", 96)])
def test_side_outputs_of_training_are_left_out(name, side):
    encoder = TorchvisionEncoder(name, embedding_dim=4)
    materialize(encoder, (3, side, side))
    assert encoder(torch.rand(2, 3, side, side)).shape == (2, 4)
    assert not any("aux" in key.lower() for key in encoder.state_dict())


def test_the_card_is_that_of_the_weights_named(monkeypatch):
    def build(name, weights):
        return get_model(name, weights=None, image_size=384)

    monkeypatch.setattr("torchvision.models.get_model", build)
    encoder = TorchvisionEncoder("vit_b_16", "IMAGENET1K_SWAG_E2E_V1")
    assert (encoder.image_size, TorchvisionEncoder("vit_b_16", "IMAGENET1K_V1").image_size) == (384, 224)


def test_a_size_that_a_network_refuses_is_told_in_one_line():
    with pytest.raises(
        UserError, match=r"cannot take inputs of shape \(3, 64, 64\) \(Wrong image height.*data.image_size"
    ):
        materialize(TorchvisionEncoder("vit_b_16"), (3, 64, 64))


def test_its_blocks_are_its_layers():
    names = [layer.name for layer in layers_of(TorchvisionEncoder("resnet18", embedding_dim=7))]
    blocks = [f"network.layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]
    assert names == ["network.conv1", *blocks, "projection"]


def test_the_hash_knows_the_preprocessing():
    def build(**keys):
        torch.manual_seed(0)
        return TorchvisionEncoder("resnet18", **keys)

    assert encoder_hash(build()) == encoder_hash(build())
    assert encoder_hash(build()) != encoder_hash(build(image_size=64))


@pytest.mark.parametrize(
    ("name", "weights", "words"),
    [
        ("resnet18", "missing.pth", "weights=missing.pth: no such file"),
        ("resnet34", "FILE", "holds the weights of another model than resnet34"),
        ("resnet81", None, "no network 'resnet81': choose one of its list, e.g. resnet18"),
        ("raft_large", None, "choose a classification network"),
        ("squeezenet1_0", None, "does not end in a linear layer"),
    ],
)
def test_mistakes_are_told_in_one_line(file, name, weights, words):
    with pytest.raises(UserError, match=words) as told:
        TorchvisionEncoder(name, weights=str(file) if weights == "FILE" else weights)
    assert "\n" not in str(told.value)


def test_a_file_that_holds_no_weights(tmp_path):
    (tmp_path / "text.pth").write_text("no weights")
    torch.save([1, 2], tmp_path / "list.pth")
    for name, words in (("text", "not a file of weights, or is damaged"), ("list", "holds no weights by name")):
        with pytest.raises(UserError, match=words):
            TorchvisionEncoder("resnet18", weights=str(tmp_path / f"{name}.pth"))


def test_images_are_not_normalised_twice():
    data = ImageData(mean=[0.485], std=[0.229])
    with pytest.raises(UserError, match=r"normalises images itself: leave data\.mean and data\.std"):
        check_scale(TorchvisionEncoder("resnet18"), data)


def test_timm_without_timm(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(UserError, match="timm is not installed"):
        TimmEncoder("resnet10t")


def test_timm_without_a_connection(monkeypatch):
    timm = pytest.importorskip("timm", reason="timm is an optional package")

    def refuse(*_, **__):
        raise RuntimeError("client has been\nclosed")  # no OSError: its hub has errors of its own

    monkeypatch.setattr(timm, "create_model", refuse)
    told = r"weights=DEFAULT: resnet10t's cannot be downloaded \(client has been closed\): give the path of a file"
    with pytest.raises(UserError, match=told):
        TimmEncoder("resnet10t", weights="DEFAULT")


def test_timm_with_weights_by_path(tmp_path):
    timm = pytest.importorskip("timm", reason="timm is an optional package")
    torch.manual_seed(0)
    network = timm.create_model("resnet10t")
    torch.save(network.state_dict(), tmp_path / "w.pth")
    encoder = TimmEncoder("resnet10t", weights=str(tmp_path / "w.pth"), image_size=64).eval()
    network.reset_classifier(0)
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    mean, std = (torch.tensor(network.pretrained_cfg[key]).view(-1, 1, 1) for key in ("mean", "std"))
    torch.testing.assert_close(encoder(images), network.eval()(((images + 1) / 2 - mean) / std))
    assert TimmEncoder("vit_tiny_patch16_224", weights=None, embedding_dim=5).eval()(
        torch.zeros(1, 3, 224, 224)
    ).shape == (1, 5)
    with pytest.raises(UserError, match="timm has no network 'resnet_x'"):
        TimmEncoder("resnet_x")
    with pytest.raises(UserError, match="holds the weights of another model"):
        TimmEncoder("resnet18", weights=str(tmp_path / "w.pth"))
