"""Every encoder as ONNX: what onnxruntime makes of bytes, against torch in double precision."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dml import encoders
from dml.encoders import Encoder
from dml.errors import UserError

pytest.importorskip("onnx", reason="the extra dml[onnx] is not installed")
pytest.importorskip("onnxruntime", reason="the extra dml[onnx] is not installed")

from dml.export.golden import cosines
from dml.export.graph import PixelEncoder, resize_matrix, write_onnx
from dml.search.onnx_embedder import open_session, run_session

SHAPES = {"grey": (1, 16, 16), "colour": (3, 16, 20), "square": (3, 32, 32)}
BUILT = {
    "flatten": (lambda: encoders.FlattenEncoder(center=True), "grey"),
    "linear": (lambda: encoders.LinearEncoder(8, normalize=True), "colour"),
    "mlp": (lambda: encoders.MLPEncoder(8, [16], batch_norm=True, dropout=0.5), "grey"),
    "alexnet": (lambda: encoders.AlexNetEncoder(8, (4, 8, 8, 8, 8), [16, 16]), "square"),
    "conv": (lambda: encoders.ConvEncoder(8, channels=[4, 8], dropout=0.3), "colour"),
    "residual": (lambda: encoders.ResidualEncoder(8, channels=[4, 8], blocks=[0, 1], standardize=True), "colour"),
    "moments": (lambda: encoders.MomentNormalizedEncoder(encoders.ConvEncoder(8, channels=[4]), size=12), "colour"),
    "strided": (lambda: encoders.StridedConvEncoder(8), "square"),
    "torchvision": (lambda: encoders.TorchvisionEncoder("resnet18", embedding_dim=8, image_size=40), "grey"),
    "mobile": (lambda: encoders.TorchvisionEncoder("mobilenet_v3_small"), "square"),
    "timm resnet": (lambda: encoders.TimmEncoder("test_resnet", embedding_dim=8, image_size=24), "square"),
    "timm transformer": (lambda: encoders.TimmEncoder("test_vit", image_size=160, normalize=True), "square"),
}


@pytest.mark.parametrize("name", BUILT)
def test_onnx_gives_what_torch_gives_for_any_number_of_images(name):
    build, kind = BUILT[name]
    if name.startswith("timm"):
        pytest.importorskip("timm")
    shape = SHAPES[kind]
    channels, height, width = shape
    torch.manual_seed(0)
    encoder = build().eval()
    mean, std = ([0.4], [0.3]) if channels == 1 else ([0.4, 0.5, 0.6], [0.2, 0.3, 0.25])
    with torch.no_grad():
        encoder(torch.zeros(1, *shape))  # fixes lazy sizes
    network = PixelEncoder(encoder, mean, std).eval()
    session = open_session(write_onnx(network, shape), "encoder.onnx", 1)
    draw = np.random.default_rng(1)
    for count in (1, 3):
        images = draw.integers(0, 256, (count, height, width, channels), np.uint8)
        scaled = (images / 255 - np.array(mean)) / np.array(std)
        with torch.no_grad():
            wanted = encoder.double()(torch.from_numpy(scaled).permute(0, 3, 1, 2)).numpy()
        encoder.float()
        found = run_session(session, images)
        assert found.dtype == np.float32
        assert cosines(found, wanted).min() > 0.99999
        np.testing.assert_allclose(found, wanted, atol=2e-4 * np.abs(wanted).max())


@pytest.mark.parametrize(("size", "to"), [(8, 5), (5, 8), (7, 7), (31, 4)])
def test_resizing_by_products_is_torchs(size, to):
    images = torch.rand(2, 3, size, 6, generator=torch.Generator().manual_seed(0))
    wanted = F.interpolate(images, size=(to, 6), mode="bilinear", antialias=True)
    torch.testing.assert_close(resize_matrix(size, to) @ images, wanted, atol=1e-6, rtol=0)


class _Sorted(Encoder):
    """Does what ONNX has no word for."""

    def forward(self, images):
        return torch.linalg.eigvalsh(images[:, 0] + images[:, 0].mT)


def test_what_onnx_has_no_word_for_is_told_in_one_line(capfd):
    with pytest.raises(UserError, match="_Sorted cannot be written as ONNX") as told:
        write_onnx(PixelEncoder(_Sorted(), 0.5, 0.5).eval(), (1, 4, 4))
    assert "\n" not in str(told.value)
    assert capfd.readouterr() == ("", "")


def test_a_network_of_another_form_is_refused():
    with pytest.raises(UserError, match=r"x\.onnx is not a network that onnxruntime can run"):
        open_session(b"not a network", "x.onnx", 1)
