"""Background rejection of the taggers of tutorial 04a at 70, 50 and 30% of the tops, counted on many QCD jets.

    lhcml data make top_jets_qcd --events 100000 --seed 2 --workers 2  # once; 35 minutes on two cores
    python benchmarks/rejection.py --background 100000 --taggers ParticleNet transformer --seeds 1 2 3 | grep '^|'

A rejection of 1000 needs 100,000 background jets for an error of 10%; the committed sample holds out 4000. The cells of
04a train at laptop scale (20,000 jets) up to the scoreboard; then their taggers judge QCD jets that none of them has
seen. The tops are the test jets of 04a. Without --background the QCD jets are, too: a count of few.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import pad

from lhcml_tutor import taggers
from lhcml_tutor.datasets import Events
from lhcml_tutor.datasets.collider import from_transverse
from lhcml_tutor.datasets.shards import make_sample
from lhcml_tutor.metrics import auc, bootstrap, rejection
from lhcml_tutor.physics.substructure import observables

SOURCE = Path(__file__).parents[1] / "tutorials" / "04a_top_tagging.py"
STATISTICS = {"AUC": auc} | {
    f"Rej{100 * share:g}": lambda score, label, at=share: rejection(score, label, at).value for share in (0.7, 0.5, 0.3)
}


def trained(tagger, seed, most):
    """Return what the cells of 04a have defined when its taggers are trained."""
    code, board, _ = SOURCE.read_text(encoding="utf-8").partition("\nboard = {")
    if not board:
        raise SystemExit(f"{SOURCE.name} has no line 'board = {{' any more: write here which one follows the trainings")
    settings = {"tagger": tagger, "seed": seed, "most": most}
    os.environ |= {"LHCML_NOTEBOOK": "04a", "LHCML_SCALE": "laptop", "LHCML_PARAMETERS": json.dumps(settings)}
    cells = {"__name__": "__main__"}
    exec(compile(code, SOURCE, "exec"), cells)
    return cells


def unseen_jets(number):
    """Return relative constituents (n, 80, 3) and observables (n, 16) of QCD jets that 04a does not know."""
    events = Events.load(make_sample("top_jets_qcd", number, seed=2, workers=os.cpu_count()))
    relative = events["constituents"].float()
    axis = pad(events["jet"][:, None, 1:3].double(), (1, 0))  # (n, 1, 3): 0, eta, phi
    parts = [observables(part) for part in from_transverse(relative + axis).split(10_000)]
    table = np.concatenate([np.stack([values.numpy() for values in part.values()], 1) for part in parts])
    return relative, table


def judged(cells, relative, table):
    """Return {tagger: logits of these jets} by the taggers that one run of 04a has trained."""
    most, tagger = cells["p"].most, cells["p"].tagger
    parts = [taggers.constituent_features(taggers.aligned(part), most=most) for part in relative.split(10_000)]
    scores = {"trees": torch.from_numpy(cells["trees"]["trees"].decision_function(table))}
    for name, network in (("deep sets", cells["sets"]), (tagger, cells["second"])):
        scores[name] = torch.cat([cells["logits"](network, *part) for part in parts])
    return scores


def row(score, truth, background):
    """Return the cells of one line: how many QCD jets, then each statistic with its bootstrap error over the jets."""
    tops = score[truth == 1].double()
    label = torch.cat([torch.ones(len(tops)), torch.zeros(len(background))])
    texts = [f"{len(background):,}"]
    for name, statistic in STATISTICS.items():
        value, error = bootstrap(statistic, torch.cat([tops, background.double()]), label, repeats=100)
        texts.append(f"{value:.4f} +- {error:.4f}" if name == "AUC" else f"{value:.0f} +- {error:.0f}")
    return texts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--background", type=int, help="QCD jets of seed 2 to count on; made where they are missing")
    parser.add_argument("--taggers", nargs="+", default=["ParticleNet"], help="ParticleNet, image or transformer")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--most", type=int, default=40, help="constituents that the networks get")
    options = parser.parse_args()
    jets = unseen_jets(options.background) if options.background else None
    print("| " + " | ".join(["tagger", "seed", "constituents", "QCD jets", *STATISTICS]) + " |")
    print("| :--- |" + " ---: |" * (3 + len(STATISTICS)))
    for tagger in options.taggers:
        for seed in options.seeds:
            cells = trained(tagger, seed, options.most)
            scores, truth = cells["scores"], cells["truth"]
            others = judged(cells, *jets) if jets else {}
            for name in ("trees", "deep sets", tagger):
                texts = row(scores[name], truth, others.get(name, scores[name][truth == 0]))
                print("| " + " | ".join([name, str(seed), str(options.most), *texts]) + " |", flush=True)
