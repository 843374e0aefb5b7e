"""The processes that train together under torchrun; a single process is the case world = 1."""

import atexit
import copy
import os

import torch
from torch import distributed


class Processes:
    """This process among those that train one model together.

    torchrun sets WORLD_SIZE, RANK and the address of the first process; the group is opened with NCCL on GPUs and
    gloo on the CPU unless the notebook has opened one itself, and stays open for the next call of `fit`.

    Attributes:
        rank, world: number of this process and how many there are.
        main: whether this one prints and writes.
    Example:
        >>> processes = Processes(torch.device("cpu"))
        >>> processes.rank, processes.world, processes.main
        (0, 1, True)
    """

    def __init__(self, device):
        self.device = device
        if not self._joined() and int(os.environ.get("WORLD_SIZE", 1)) > 1:
            if device.type == "cuda":
                torch.cuda.set_device(device)
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
            atexit.register(lambda: distributed.is_initialized() and distributed.destroy_process_group())
        self.rank = distributed.get_rank() if self._joined() else 0
        self.world = distributed.get_world_size() if self._joined() else 1
        self.main = self.rank == 0

    @staticmethod
    def _joined():
        return distributed.is_available() and distributed.is_initialized()

    def wrap(self, module, batch):
        """Return the module whose backward averages gradients over processes; batch is one to try it on."""
        if self.world == 1:
            return module
        devices = [self.device.index] if self.device.type == "cuda" else None
        unused = _leaves_parameters_out(module, batch, devices or [])
        return torch.nn.parallel.DistributedDataParallel(module, device_ids=devices, find_unused_parameters=unused)

    def sum(self, tensor):
        """Add a tensor over processes, in place."""
        if self.world > 1:
            distributed.all_reduce(tensor)
        return tensor

    def mean(self, tensor):
        """Average a tensor over processes, in place."""
        return self.sum(tensor).div_(self.world) if self.world > 1 else tensor

    def own_random_numbers(self, seed):
        """Let each process draw its own noise: with equal seeds all would add the same noise to different rows."""
        if self.rank:
            torch.manual_seed(seed + 7919 * self.rank)

    def same_random_numbers(self):
        """Give every process the random numbers of the first one again, so that they agree on what comes after."""
        if self.world > 1:
            state = self.random_states()[0]
            set_random_state(state, self.device)

    def random_states(self):
        """Return the state of the random numbers of every process."""
        states = [random_state(self.device)]
        if self.world > 1:
            states = [None] * self.world
            distributed.all_gather_object(states, random_state(self.device))
        return states

    def wait(self):
        if self.world > 1:
            distributed.barrier()


def _leaves_parameters_out(module, batch, cuda):
    """Tell whether some parameters get no gradient: DDP must know, and searches for them at every step if so."""
    trial = copy.deepcopy(module).eval()  # a trial must not move running averages, nor random numbers
    with torch.random.fork_rng(cuda), torch.enable_grad():
        trial(batch)[0].backward()
    return any(weight.grad is None for weight in trial.parameters() if weight.requires_grad)


def random_state(device):
    """Return the state of torch's random numbers on the CPU and this device."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state, device):
    """Set what `random_state` returned."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
