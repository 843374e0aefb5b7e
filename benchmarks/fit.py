"""What `fit` costs beside the bare loop, and beside a DataLoader: python benchmarks/fit.py [--rounds 15]

One epoch of an MLP 3 x 128 over 100,000 rows on one CPU thread, from making the network to its last step. The
contestants take turns, and the smallest CPU time of each counts, because other programs on the machine only ever add
to it. All use the same AdamW, fused, but the last line.
"""

import argparse
import time

import torch
from torch.utils.data import DataLoader, TensorDataset

import lhcml_tutor as lt
from lhcml_tutor.layers import MLP

ROWS, FEATURES = 100_000, 16  # as many as four four-momenta have
SETTINGS = {"lr": 1e-3, "betas": (0.9, 0.95), "weight_decay": 0.0}


def loss(model, batch):
    return (model(batch["x"]) - batch["y"]).square().mean()


def loop(batches, fused):
    """The bare loop over whatever yields (x, y)."""
    model = MLP(FEATURES, 1)
    optimizer = torch.optim.AdamW(model.parameters(), fused=fused, **SETTINGS)
    for x, y in batches:
        optimizer.zero_grad()
        loss(model, {"x": x, "y": y}).backward()
        optimizer.step()


def contestants(x, y, batch_size):
    steps = len(x) // batch_size
    slices = list(zip(x.split(batch_size)[:steps], y.split(batch_size)[:steps], strict=True))
    loader = DataLoader(TensorDataset(x, y), batch_size=batch_size, shuffle=True, drop_last=True)
    settings = {"steps": steps, "batch_size": batch_size, "progress": False, "seed": 1}
    data = {"x": x, "y": y}
    return {
        "bare loop, sliced before": lambda: loop(slices, fused=True),
        "fit, clip=None": lambda: lt.fit(MLP(FEATURES, 1), loss, data, clip=None, **settings),
        "fit, clip=1.0 (default)": lambda: lt.fit(MLP(FEATURES, 1), loss, data, **settings),
        "DataLoader, shuffle=True": lambda: loop(loader, fused=True),
        "bare loop, AdamW not fused": lambda: loop(slices, fused=None),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    torch.manual_seed(1)
    x = torch.randn(ROWS, FEATURES)
    y = x.square().mean(1, keepdim=True)
    print(
        f"torch {torch.__version__}, one epoch of {ROWS} rows, {rounds} interleaved rounds, minima of CPU time",
        flush=True,
    )
    print("| batch | contestant | seconds | to bare loop |\n| ---: | :--- | ---: | ---: |")
    for batch_size in (64, 1024):
        runs = contestants(x, y, batch_size)
        seconds = dict.fromkeys(runs, float("inf"))
        for _ in range(rounds):
            for name, run in runs.items():
                start = time.process_time()
                run()
                seconds[name] = min(seconds[name], time.process_time() - start)
        bare = seconds["bare loop, sliced before"]
        for name, best in seconds.items():
            print(f"| {batch_size} | {name} | {best:.3f} | {best / bare:.3f} |", flush=True)


if __name__ == "__main__":
    main()
