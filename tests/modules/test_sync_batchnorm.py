"""BatchNorm over all processes is torch's over the whole batch, forward and backward."""

import pytest
import torch
from torch import nn

from dml.functional.distributed import batch_order, gather_rows, share_weight
from dml.modules.sync_batchnorm import SyncBatchNorm, SyncedBatchNorm, synced


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)).double()


def images():
    return torch.randn(11, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def share(rank, size, folder):
    own = images()[rank::size]
    model = nn.parallel.DistributedDataParallel(SyncBatchNorm().apply(network()))
    out = model(own)
    (out.square().mean() * share_weight(len(own), torch.device("cpu"))).backward()
    order = batch_order(11)
    gathered = gather_rows(out)[order]
    if rank == 0:
        found = {name: p.grad for name, p in model.module.named_parameters()}
        torch.save({"out": gathered, "grads": found, "state": model.module.state_dict()}, f"{folder}/{size}.pt")


@pytest.mark.parametrize("size", [2, 3])
def test_shares_of_a_batch_are_the_batch(tmp_path, in_group, size):
    whole = network()
    out = whole(images())
    out.square().mean().backward()
    in_group(share, size, str(tmp_path))
    found = torch.load(tmp_path / f"{size}.pt", weights_only=True)
    assert torch.allclose(found["out"], out.detach(), atol=1e-12)
    for name, p in whole.named_parameters():
        assert torch.allclose(found["grads"][name], p.grad, atol=1e-12), name
    for name, value in whole.state_dict().items():
        assert torch.allclose(found["state"][name].double(), value.double(), atol=1e-6), name


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5), (4, 3, 5, 2)])
def test_alone_it_is_torchs(shape, momentum):
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)]
    plain = kind(3, momentum=momentum)
    own = synced(kind(3, momentum=momentum))
    assert isinstance(own, SyncedBatchNorm)
    for step in range(3):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(step)) * 3 + 1
        assert torch.allclose(plain(x), own(x), atol=1e-5)
    for name, value in plain.state_dict().items():
        assert torch.allclose(own.state_dict()[name].float(), value.float(), atol=1e-5), name
    assert torch.allclose(plain.eval()(x), own.eval()(x), atol=1e-5)


def test_one_value_per_channel_is_refused_as_torch_does():
    with pytest.raises(ValueError, match="one value per channel"):
        SyncedBatchNorm(3)(torch.zeros(1, 3))
