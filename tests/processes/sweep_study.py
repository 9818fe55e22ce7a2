"""A small sweep that several interpreters run on one folder: `python -c "from tests.processes import sweep_study; ..."`."""

import os
import time
from pathlib import Path

import jax
import numpy as np

import ratelike as rl

GRID = rl.TimeGrid(0.5e-3, 40)
AXES = {"num_neurons": [64, 100], "num_latents": [2, 3]}
CELLS = 2 * 2 * 2


def relay(num_neurons, num_latents=3, *, key):
    """Weights of a relay network, without the seconds that its gain takes to compile."""
    weights = jax.random.normal(key, (2, num_neurons, num_latents))
    return rl.Network([rl.Layer(rl.SRM0(), weights[0], 0.02 * weights[1], 1.0)])


def plain(num_neurons, num_latents=3, *, key):
    """The same by NumPy, which compiles nothing."""
    weights = generator(key).normal(size=(2, num_neurons, num_latents))
    return rl.Network([rl.Layer(rl.SRM0(), weights[0], weights[1], 1.0)])


def generator(key):
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def projection(network, grid, key):
    """Something random that depends on the network, the key and nothing else."""
    encoder = np.asarray(network.layers[0].encoder)
    potential = generator(key).normal(size=(grid.num_steps, len(encoder.T))) @ encoder.T
    return {"spread": potential.std(), "trace": potential.mean(axis=1)}


class Logged:
    """`projection`, with a line in a log for each call, and places to wait in: how the tests time their kills."""

    def __call__(self, network, grid, key):
        if "SWEEP_LOG" in os.environ:
            self.wait(Path(os.environ["SWEEP_LOG"]))
        return projection(network, grid, key)

    def wait(self, log):
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        # Until so many processes have begun.
        while len(set(log.read_text().split())) < int(os.environ["SWEEP_TOGETHER"]):
            time.sleep(0.02)
        # For ever, after so many cells of this process.
        mine = log.read_text().split().count(str(os.getpid()))
        while mine > int(os.environ["SWEEP_STOP"]):
            time.sleep(1.0)


EXECUTION = ("budget", "workers", "devices", "claim", "progress")


def run(folder, make_network=plain, **options):
    how = {name: options.pop(name) for name in EXECUTION if name in options}
    arguments = dict(axes=AXES, num_trials=2, key=jax.random.key(7), measure=Logged())
    arguments |= dict(execution=rl.study.SweepExecution(**how)) | options
    return rl.sweep(make_network, GRID, folder=folder, **arguments)
