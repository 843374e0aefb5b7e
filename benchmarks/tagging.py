"""How hard it is to tell tops from QCD jets in the committed sample, next to the public reference set.

python benchmarks/tagging.py

Boosted trees on the jet mass alone, on mass and N-subjettiness, and on all observables of physics/substructure.py.
"""

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from lhcml_tutor import datasets
from lhcml_tutor.physics import substructure

SEEDS = 5
JETS = datasets.load_top_jets(n=30_000)
OBSERVABLES = substructure.observables(JETS["constituents"].double())
SETS = {
    "mass": ["mass"],
    "mass, tau_1 ... tau_4": ["mass", "tau_1", "tau_2", "tau_3", "tau_4"],
    "all 16": list(OBSERVABLES),
}


def judged(names, n_train, seed):
    """Return AUC and 1 / background efficiency at half of the tops, of trees trained on n_train jets."""
    x, label = np.stack([OBSERVABLES[name].numpy() for name in names], 1), JETS["label"].numpy()
    order = np.random.default_rng(seed).permutation(len(x))
    train, test = order[:n_train], order[-8000:]
    trees = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.07, max_leaf_nodes=16, random_state=seed)
    score = trees.fit(x[train], label[train]).predict_proba(x[test])[:, 1]
    tops, others = score[label[test] == 1], score[label[test] == 0]
    return roc_auc_score(label[test], score), 1 / np.mean(others > np.median(tops))


if __name__ == "__main__":
    print("| trees on | jets to train on | AUC | background rejection at 50% |")
    print("| --- | ---: | ---: | ---: |")
    for name, names in SETS.items():
        for n_train in (5000, 20_000):
            auc, rejection = zip(*(judged(names, n_train, seed) for seed in range(SEEDS)))
            print(f"| {name} | {n_train:,} | {np.mean(auc):.4f} +- {np.std(auc):.4f} | {np.mean(rejection):.0f} |")
