"""Which observables tell quarks from gluons better behind another shower: python benchmarks/showers.py

Boosted trees on 20,000 of Pythia's jets, judged on 10,000 others of Pythia and on 4000 of Vincia; then what the width
and C_0.2 of all jets tell among those with equally many constituents.
"""

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from lhcml_tutor import datasets
from lhcml_tutor.explain import auc_with_error
from lhcml_tutor.physics import jet_contents
from lhcml_tutor.physics.substructure import energy_correlators, girth

N_TRAIN = 20_000
SETS = ("n",), ("w",), ("pTD",), ("n", "w"), ("n", "pTD"), ("n", "w", "pTD")


def jets(shower, n):
    """Return {observable: (n,)} and labels (n,) of jets of one shower, 1 for a quark."""
    events = datasets.load_quark_gluon_jets(n=n, shower=shower)
    momenta = events["constituents"]
    table = {"n": jet_contents.multiplicity(momenta), "w": girth(momenta), "pTD": jet_contents.pt_dispersion(momenta)}
    table["C_0.2"] = energy_correlators(momenta, beta=0.2)[0]
    return {name: values.numpy() for name, values in table.items()}, events["label"].numpy()


def at_equal_count(values, n, label, counts):
    """Return the AUC of values over all pairs of a quark and a gluon that have the same number of constituents."""
    right, pairs = 0.0, 0
    for count in counts:
        some = n == count
        here = int(label[some].sum()) * int((1 - label[some]).sum())
        if here:
            right, pairs = right + here * roc_auc_score(label[some], values[some]), pairs + here
    return right / pairs


if __name__ == "__main__":
    (pythia, label), (vincia, other) = jets("pythia", 30_000), jets("vincia", 4_000)
    print("| trees on | AUC, Pythia's jets | AUC, Vincia's jets |\n| :--- | ---: | ---: |")
    for names in SETS:
        x, x_other = (np.stack([table[name] for name in names], 1) for table in (pythia, vincia))
        trees = HistGradientBoostingClassifier(max_iter=60, learning_rate=0.07, max_leaf_nodes=8, random_state=1)
        trees.fit(x[:N_TRAIN], label[:N_TRAIN])
        both = (trees.decision_function(x[N_TRAIN:]), label[N_TRAIN:]), (trees.decision_function(x_other), other)
        cells = (auc_with_error(*map(torch.from_numpy, pair)) for pair in both)
        print(f"| {', '.join(names)} | " + " | ".join(f"{at.value:.3f} +- {at.error:.3f}" for at in cells) + " |")
    print("| at equal count | n | AUC, Pythia's jets | AUC, Vincia's jets |\n| :--- | :--- | ---: | ---: |")
    for name in ("w", "C_0.2"):
        for text, counts in (("any", range(81)), ("below 30", range(30)), ("45 or more", range(45, 81))):
            cells = (at_equal_count(t[name], t["n"], y, counts) for t, y in ((pythia, label), (vincia, other)))
            print(f"| {name} | {text} | " + " | ".join(f"{found:.3f}" for found in cells) + " |")
