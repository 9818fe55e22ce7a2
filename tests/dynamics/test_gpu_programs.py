"""Programs compiled for an H100: how many kernels they launch, and how much memory they reserve."""

import importlib.util
import json
import subprocess
import sys

import pytest

# Launches, and MiB of temporaries, with a tenth to spare; what they were when they were counted is in benchmarks/README.md.
LIMITS = {
    "spiking 10000": (500, 50),
    "spiking 100000": (530, 270),
    "spiking 1000000": (470, 1800),
    "streamed spiking 1000000": (490, 1800),
    "exact 10000": (1700, 60),
    "exact 100000": (6400, 130),
    "exact 1000000": (49_000, 210),
    "graded 10000": (1800, 50),
    "graded 100000": (1900, 160),
    "graded 1000000": (6700, 490),
    "conventional 10000": (970, 60),
    "conventional 100000": (1100, 540),
    "conventional 1000000": (1100, 5400),
    "gradient exact 4096": (6600, 760),
    "gradient graded 4096": (6700, 140),
    "gradient with variance 1024": (28_500, 60),
    "gradient with variance 1024, 8 inputs": (30_000, 200),
    "convergence 4 x 1024": (2400, 60),
}


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
