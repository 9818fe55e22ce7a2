"""Programs compiled for an H100: how many kernels they launch, and how much memory they reserve."""

import importlib.util
import json
import subprocess
import sys

import pytest

# Launches, and MiB of temporaries, with a tenth to spare; what they were when they were counted is in benchmarks/README.md.
LIMITS = {}


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("jax_cuda13_plugin") is None,
    reason="needs the extra cuda13",
)
@pytest.mark.parametrize("program", LIMITS)
def test_launches_and_memory(program):
    command = [sys.executable, "-m", "tests.processes.gpu_programs", program]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(run.stdout.splitlines()[-1])
    launches, mebibytes = LIMITS[program]
    assert found["launches"] <= launches
    assert found["mebibytes"] <= mebibytes
