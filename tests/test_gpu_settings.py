"""The code path of the largest scale, with few events and steps: no GPU is needed to see that it runs to the end."""

import re

import pytest

from lhcml_tutor.notebooks import execute, sources

SOURCES = {key: source for key, source in sources.find().items() if source.header["gpu"]}
TINY = {"n_": 2000, "steps": 60, "draws": 4, "batch": 256, "width": 64}  # by the beginning of a parameter's name


@pytest.mark.parametrize("key", SOURCES)
def test_gpu_scale_runs_at_tiny_size(key):
    names = sources.parameters_of(SOURCES[key].text)
    small = {name: size for name in names for beginning, size in TINY.items() if name.startswith(beginning)}
    assert small, "nothing to make smaller"
    ran = execute.run(SOURCES[key], scale="gpu", parameters=small, threads=1, capture=True)
    assert ran.status == 0, ran.output[-4000:]
    judged = re.findall(r"^(PASS|OUTSIDE|BLIND|NOT YET MEASURED)  .*", ran.output, re.MULTILINE)
    assert judged and "OUTSIDE" not in judged
