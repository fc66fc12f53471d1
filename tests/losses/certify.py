"""Certify that 2 and 3 processes give every loss the value and the gradients that one process gives it.

Usage: python certify.py; prints a JSON object {loss: largest relative error} for each number of processes.
"""

import copy
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
import torch._dynamo  # DistributedDataParallel needs it: import it once, before the processes part
from pytorch_metric_learning.losses import MultiSimilarityLoss, ProxyAnchorLoss
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from dml.functional.distributed import gather_rows, gather_with_gradient
from dml.losses import ContrastiveLoss, CrossBatchMemory, PullLoss, TripletLoss

DIM, CLASSES = 4, 3
SIZES = [(7, 5, 3), (2, 8, 5), (6, 0, 1)]  # images of each rank, step by step
LOSSES: dict[str, Callable[[], nn.Module]] = {
    "PullLoss": PullLoss,
    "ContrastiveLoss": lambda: ContrastiveLoss(0.1, 2.0, 0.75, "mean_nonzero"),
    **{
        f"TripletLoss {mining}": lambda mining=mining: TripletLoss(0.5, mining)
        for mining in ("all", "semihard", "hard")
    },
    "TripletLoss softplus": lambda: TripletLoss(0.5, squared=False, penalty="softplus"),
    "TripletLoss squared_hinge mean_all": lambda: TripletLoss(0.5, reduction="mean_all", penalty="squared_hinge"),
    "CrossBatchMemory TripletLoss": lambda: CrossBatchMemory(TripletLoss(0.5), 20, DIM),
    "CrossBatchMemory MultiSimilarityLoss (peer)": lambda: CrossBatchMemory(MultiSimilarityLoss(), 20, DIM),
    "ProxyAnchorLoss (peer)": lambda: ProxyAnchorLoss(CLASSES, DIM),
}


class Network(nn.Module):
    """An encoder under a loss that sees the rows of all processes."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, DIM))
        self.loss = loss

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.loss(gather_with_gradient(self.encoder(images)), gather_rows(labels))


def error(ours: Tensor, truth: Tensor) -> float:
    return float((ours - truth).norm() / truth.norm())


def certify(loss: Callable[[], nn.Module], rank: int, world: int) -> float:
    """Train beside the same network on the whole batch in this process alone; return the largest relative error."""
    torch.manual_seed(0)
    together = Network(loss()).double()
    alone = copy.deepcopy(together)
    parallel, worst = DistributedDataParallel(together), 0.0
    for sizes in (step[:world] for step in SIZES):
        images, labels = torch.randn(sum(sizes), 6).double(), torch.arange(sum(sizes)) % CLASSES
        own = parallel(images.split(sizes)[rank], labels.split(sizes)[rank])
        full = alone.loss(alone.encoder(images), labels)
        gradients = [flat(torch.autograd.grad(full, list(alone.parameters())))]
        parallel.zero_grad()
        own.backward()
        gradients.insert(0, flat(p.grad for p in together.parameters()))
        worst = max(worst, error(own.detach(), full.detach()), error(*gradients))
    states = flat([torch.ones(1), *together.loss.state_dict().values()])
    equal = (gather_rows(states[None]) == states).all()  # weights, queue and pointer are the same on all ranks
    return worst if equal else float("inf")


def flat(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([tensor.double().flatten() for tensor in tensors])


def work(rank: int, world: int, rendezvous: Path) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world)
    errors = {name: certify(loss, rank, world) for name, loss in LOSSES.items()}
    if rank == 0:
        print(json.dumps({"processes": world, "errors": errors}), flush=True)
    distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)  # no threads before the forks, which spare each process the imports
    with tempfile.TemporaryDirectory() as folder:
        for world in (2, 3):
            settings = [(rank, world, Path(folder) / str(world)) for rank in range(world)]
            processes = [multiprocessing.get_context("fork").Process(target=work, args=each) for each in settings]
            for process in processes:
                process.start()
            for process in processes:
                process.join()
            if any(process.exitcode for process in processes):
                sys.exit(1)
