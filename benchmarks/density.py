"""Densities side by side: python benchmarks/density.py [--rounds 5] [--features 14] [--batch 512]

Spline flows of six couplings with two hidden layers of 64 units and 8 bins: our CouplingFlow, zuko's coupling
transforms, normflows' coupled splines (its conditioner is a residual network with two linear layers; parameters are
printed). A training step (negative log-likelihood, backward, AdamW), and sampling without gradient. Flow matching with
an MLP of 4 x 256 and 20 Runge-Kutta steps beside them. On the CPU one thread and the smallest CPU time counts, because
other programs only ever add to it; on a GPU the smallest wall time. --compile adds torch.compile of our flow.
"""

import argparse
import time

import torch
from torch import nn

import lhcml_tutor as lt
from lhcml_tutor.flow_matching import FlowMatching, flow_matching_loss
from lhcml_tutor.flows import CouplingFlow

BLOCKS, HIDDEN, BINS, BOUND = 6, (64, 64), 8, 5.0


def ours(features):
    flow = CouplingFlow(features, blocks=BLOCKS, hidden=HIDDEN, bins=BINS, bound=BOUND)
    return flow, lambda x: -flow.log_prob(x).mean(), lambda n: flow.sample(n, batch_size=n)


def zuko(features):
    from zuko.distributions import DiagNormal
    from zuko.flows import Flow, GeneralCouplingTransform, UnconditionalDistribution
    from zuko.transforms import MonotonicRQSTransform

    transforms = []
    for block in range(BLOCKS):
        mask = torch.arange(features) % 2 == block % 2
        transforms.append(
            GeneralCouplingTransform(
                features, mask=mask, univariate=lambda *phi: MonotonicRQSTransform(*phi, bound=BOUND),
                shapes=[(BINS,), (BINS,), (BINS - 1,)], hidden_features=HIDDEN, activation=nn.SiLU,
            )
        )  # fmt: skip
    base = UnconditionalDistribution(DiagNormal, torch.zeros(features), torch.ones(features), buffer=True)
    flow = Flow(transforms, base)
    return flow, lambda x: -flow().log_prob(x).mean(), lambda n: flow().sample((n,))


def normflows(features):
    import normflows as nf

    layers = []
    for block in range(BLOCKS):
        layers.append(
            nf.flows.CoupledRationalQuadraticSpline(
                features, 1, HIDDEN[0], num_bins=BINS, tail_bound=BOUND, activation=nn.SiLU, reverse_mask=block % 2 == 1
            )
        )
    flow = nf.NormalizingFlow(nf.distributions.DiagGaussian(features, trainable=False), layers)
    return flow, flow.forward_kld, lambda n: flow.sample(n)[0]


def matching(features):
    model = FlowMatching(features, hidden=(256,) * 4)
    return model, lambda x: flow_matching_loss(model, x), lambda n: model.sample(n, steps=20, batch_size=n)


def compiled(features):
    flow, _, sample = ours(features)
    log_prob = torch.compile(flow.log_prob)
    return flow, lambda x: -log_prob(x).mean(), sample


def clock(device):
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def best(call, device, rounds):
    """Return the least milliseconds of a call."""
    times = []
    for _ in range(rounds):
        began = clock(device)
        call()
        times.append(clock(device) - began)
    return 1e3 * min(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("rounds", 5), ("features", 14), ("batch", 512), ("samples", 8192)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--compile", action="store_true")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    device = lt.device()
    makers = {"CouplingFlow": ours, "zuko": zuko, "normflows": normflows, "FlowMatching": matching}
    if wanted.compile:
        makers["CouplingFlow, compiled"] = compiled
    x = torch.randn(wanted.batch, wanted.features, generator=torch.Generator().manual_seed(1)).to(device)
    rows = {}
    for name, make in makers.items():
        try:
            torch.manual_seed(1)
            model, loss, sample = make(wanted.features)
        except ImportError as problem:
            print(f"{name}: left out, {problem}")
            continue
        model.to(device)
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)

        def step(loss=loss, optimizer=optimizer):
            optimizer.zero_grad()
            loss(x).backward()
            optimizer.step()

        @torch.no_grad()
        def draw(sample=sample):
            sample(wanted.samples)

        step(), draw()
        rows[name] = [model, step, draw, [], []]
    for _ in range(wanted.rounds):  # interleaved, so that a busy moment hits all
        for _, step, draw, steps, draws in rows.values():
            steps.append(best(step, device, 5))
            draws.append(best(draw, device, 2))
    print(f"{device}, {wanted.features} features, batch {wanted.batch}, {wanted.samples} samples at once")
    print("| | parameters | ms / training step | to CouplingFlow | events/s sampled | to CouplingFlow |")
    print("| :--- | ---: | ---: | ---: | ---: | ---: |")
    first = None
    for name, (model, _, _, steps, draws) in rows.items():
        count, step, draw = sum(w.numel() for w in model.parameters()), min(steps), min(draws)
        first = first or (step, draw)
        print(f"| {name} | {count:,} | {step:.1f} | {step / first[0]:.2f} | {1e3 * wanted.samples / draw:,.0f} "
              f"| {draw / first[1]:.2f} |")  # fmt: skip


if __name__ == "__main__":
    main()
