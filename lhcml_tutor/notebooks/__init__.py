"""Building, running and judging notebooks.

sources: where the sources stand and the hash of their code; build: source to notebook; student: what students see;
colab: badge and set-up cell; execute: run a source or its notebook; scan: many runs; results: what is kept of them;
bands: the bands of verdicts; readme: generated tables; gates: what must hold for each notebook.
"""
