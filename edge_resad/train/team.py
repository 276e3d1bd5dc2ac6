"""The processes that train one head together: each learns from its share of a batch, what they learn is averaged."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from edge_resad.errors import TrainingError


class Team:
    """This process among `size` of them; alone, nothing is sent and nothing changes.

    All members call the same methods in the same order.

    rank:   0 to size - 1; rank 0 is the one that writes files and speaks.
    device: where a member's tensors are.
    """

    def __init__(self, rank: int = 0, size: int = 1, device: str = "cpu") -> None:
        self.rank = rank
        self.size = size
        self.device = device

    def average_(self, tensors: Sequence[Tensor]) -> None:
        """Replace float tensors by their mean over the members."""
        if self.size > 1 and tensors:
            flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
            dist.all_reduce(flat)
            flat /= self.size
            for tensor, part in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
                tensor.detach().copy_(part.view_as(tensor))

    def sum_(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over the members."""
        if self.size > 1:
            dist.all_reduce(tensor)

    def follow_(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by those of rank 0."""
        for tensor in tensors if self.size > 1 else ():
            sent = tensor.detach().to(torch.float64)  # whatever it is: not every backend sends booleans
            dist.broadcast(sent, 0)
            tensor.detach().copy_(sent)

    def mean(self, said: Mapping[str, float]) -> dict[str, float]:
        """The mean of every figure over the members, who all have the same figures."""
        values = torch.tensor(list(said.values()), dtype=torch.float64, device=self.device)
        self.average_([values])
        return dict(zip(said, values.tolist(), strict=True))

    def told(self, what: Any) -> Any:
        """What rank 0 has, whatever the others give."""
        if self.size == 1:
            return what
        told = [what]
        dist.broadcast_object_list(told, 0, device=torch.device(self.device))
        return told[0]


@contextmanager
def team_of_this_run(device: str) -> Iterator[Team]:
    """The team that `torchrun` started this process in; alone where it did not.

    device: "cpu", "cuda", or "auto" for a GPU where there is one; each member takes that of its place on the machine.

    Raises:
        TrainingError: there is no such device.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise TrainingError(f"no device is called {device}. There are auto, cpu and cuda.")
    if device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("torch sees no GPU here. Check driver and torch's build, or ask for --device cpu.")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if size == 1:
        yield Team(device=device)
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    # An optimiser's first step imports this. Imported while there is a group, it keeps the group alive, whose threads
    # then outlive the interpreter now and then: SIGABRT at the end of a good run (seen with torch 2.13 and gloo).
    importlib.import_module("torch._dynamo")
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield Team(rank, size, device)
    finally:
        dist.destroy_process_group()
