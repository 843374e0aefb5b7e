"""What an ensemble and a Bayesian network cost: python benchmarks/ensembles.py [--rounds 5] [--members 8 32 128]

One AdamW step of an MLP 3 x 64 on 256 rows of 6 numbers: one network; the batched product of lt.ensembles; the same
networks through torch.func (stack_module_state, functional_call, vmap); Bayesian layers. On the CPU one thread, and
the smallest CPU time of a step counts, because other programs on the machine only ever add to it; on a GPU
(LHCML_DEVICE, or where torch finds one) the smallest mean wall time of ten steps.
"""

import argparse
import time
from functools import partial

import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

import lhcml_tutor as lt
from lhcml_tutor.ensembles import Ensemble
from lhcml_tutor.layers import MLP, BayesianLinear, kl

ROWS, FEATURES, HIDDEN = 256, 6, (64, 64, 64)


class VmapEnsemble(nn.Module):
    """The members of Ensemble through torch.func: their parameters stacked, one network mapped over them."""

    def __init__(self, make, members):
        super().__init__()
        networks = [make() for _ in range(members)]
        parameters, _ = stack_module_state(networks)
        self.names = list(parameters)
        self.stacked = nn.ParameterList([values.detach() for values in parameters.values()])
        self.network = (networks[0],)  # in a tuple: its own parameters are not trained

    def forward(self, x):
        def one(parameters):
            return functional_call(self.network[0], parameters, (x,))

        return vmap(one)(dict(zip(self.names, self.stacked, strict=True)))


def squares(model, x, y):
    return (model(x) - y).square().mean(dim=(-2, -1)).sum()


def elbo(model, x, y):
    return squares(model, x, y) + kl(model) / 10_000


def stepper(model, loss, device):
    """Return a function that does one training step."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS, FEATURES, generator=generator).to(device)
    y = x.square().mean(1, keepdim=True)
    model = model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step():
        optimizer.zero_grad()
        loss(model, x, y).backward()
        optimizer.step()

    return step


def milliseconds(step, device):
    """Return the time of one step among five in a row: as in a training, the caches hold its own numbers."""
    if device.type != "cuda":
        return min(cpu_milliseconds(step) for _ in range(5))
    step()
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(10):
        step()
    torch.cuda.synchronize()
    return 1e2 * (time.perf_counter() - begun)


def cpu_milliseconds(step):
    begun = time.process_time()
    step()
    return 1e3 * (time.process_time() - begun)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--members", type=int, nargs="+", default=[8, 32, 128])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    device = lt.device()
    make = partial(MLP, FEATURES, 1, hidden=HIDDEN)
    steps = {(1, "one network"): stepper(make(), squares, device)}
    for sampling in ("local", "weights"):
        linear = partial(BayesianLinear, sampling=sampling)
        steps[1, f"Bayesian, sampling={sampling!r}"] = stepper(make(linear=linear), elbo, device)
    for members in arguments.members:
        steps[members, "Ensemble, batched product"] = stepper(Ensemble(make, members), squares, device)
        steps[members, "torch.func, vmap"] = stepper(VmapEnsemble(make, members), squares, device)
    best = dict.fromkeys(steps, float("inf"))
    for _ in range(arguments.rounds):  # in turns
        for key, step in steps.items():
            best[key] = min(best[key], milliseconds(step, device))
    print(f"torch {torch.__version__}, {device.type}, {arguments.rounds} interleaved rounds, minima")
    print("| networks | contestant | ms a step | over one network | per member |\n| ---: | :--- | ---: | ---: | ---: |")
    alone = best[1, "one network"]
    for (members, name), found in best.items():
        print(f"| {members} | {name} | {found:.2f} | {found / alone:.1f} | {found / alone / members:.2f} |")


if __name__ == "__main__":
    main()
