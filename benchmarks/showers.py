"""Which observables tell quarks from gluons better behind another shower: python benchmarks/showers.py

Boosted trees on 20,000 of Pythia's jets, judged on 10,000 others of Pythia and on 4000 of Vincia.
"""

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from lhcml_tutor import datasets
from lhcml_tutor.physics import jet_contents
from lhcml_tutor.physics.substructure import girth

N_TRAIN = 20_000
SETS = ("n",), ("w",), ("pTD",), ("n", "w"), ("n", "pTD"), ("n", "w", "pTD")


def jets(shower, n):
    """Return {observable: (n,)} and labels (n,) of jets of one shower, 1 for a quark."""
    events = datasets.load_quark_gluon_jets(n=n, shower=shower)
    momenta = events["constituents"]
    table = {"n": jet_contents.multiplicity(momenta), "w": girth(momenta), "pTD": jet_contents.pt_dispersion(momenta)}
    return {name: values.numpy() for name, values in table.items()}, events["label"].numpy()


if __name__ == "__main__":
    (pythia, label), (vincia, other) = jets("pythia", 30_000), jets("vincia", 4_000)
    print("| trees on | AUC, Pythia's jets | AUC, Vincia's jets |\n| :--- | ---: | ---: |")
    for names in SETS:
        x, x_other = (np.stack([table[name] for name in names], 1) for table in (pythia, vincia))
        trees = HistGradientBoostingClassifier(max_iter=60, learning_rate=0.07, max_leaf_nodes=8, random_state=1)
        trees.fit(x[:N_TRAIN], label[:N_TRAIN])
        found = roc_auc_score(label[N_TRAIN:], trees.decision_function(x[N_TRAIN:]))
        print(f"| {', '.join(names)} | {found:.3f} | {roc_auc_score(other, trees.decision_function(x_other)):.3f} |")
