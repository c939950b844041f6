"""Several training processes, as `accelerate launch` or torchrun start them: who this one is, and sums over all of them."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from unweave.errors import ConfigError


@dataclass(frozen=True)
class Processes:
    """This process among those of the run.

    Attributes:
        rank: Its number, from 0.
        count: How many there are.
    """

    rank: int
    count: int

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes."""
        return self.rank == 0

    @contextlib.contextmanager
    def first_goes_first(self) -> Iterator[None]:
        """The first process runs the block, then the others do.

        Yields:
            Nothing.
        """
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    def wait(self) -> None:
        """Wait for the others."""
        if self.count > 1:
            dist.barrier()

    def of_first(self, value: str | None) -> str | None:
        """What the first process found, everywhere.

        Args:
            value: This process's.

        Returns:
            The first one's.
        """
        if self.count == 1:
            return value
        found = [value]
        dist.broadcast_object_list(found, src=0)
        return found[0]

    def average(self, value: float) -> float:
        """The mean of a number over all processes.

        Args:
            value: This process's.

        Returns:
            The mean, everywhere.
        """
        if self.count == 1:
            return value
        # NCCL moves nothing that is not on a GPU: the one that the launcher gave this process.
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        total = torch.tensor(value, dtype=torch.float64, device=device)
        dist.all_reduce(total)
        return float(total) / self.count

    def average_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Put the mean gradient over all processes in the place of each one's own, in one float32 transfer.

        Args:
            parameters: The trained parameters; one without a gradient counts as zero.
        """
        if self.count == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten().float() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.count
        for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))


def processes() -> Processes:
    """This process among those that a launcher started; alone without one.

    Returns:
        Rank and number; where there are several, they can talk to each other from now on.
    """
    if _started() == 1:
        return Processes(0, 1)
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available())
    return Processes(state.process_index, state.num_processes)


def only_one(what: str) -> None:
    """Refuse to run in several processes.

    Args:
        what: What can't.

    Raises:
        ConfigError: When a launcher started several.
    """
    if _started() > 1:
        raise ConfigError(
            f"{what} runs in one process.", where="accelerate launch", remedy="start it without a launcher"
        )


def _started() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))
