"""Time of stationary states, stability, transfer functions and spectra, over network sizes.

    python benchmarks/analysis.py

One layer of `SRM0` with 100 ages that inhibits itself by two latents, and an input of two. Seconds of processor time of
all cores and wall time, of a second call: the first one compiles.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import ratelike as rl

DT = 1e-3


def network_of(neurons: int) -> rl.Layer:
    input_key, feedback_key = jax.random.split(jax.random.key(0))
    encoder = jax.random.normal(input_key, (neurons, 2))
    rows = 1.0 + jax.random.normal(feedback_key, (neurons, 2))
    feedback = rl.Feedback(-0.05 * rows, rows, 2e-3)
    return rl.Layer(rl.SRM0(), encoder, encoder, 2.0, feedback)


def timed(function: Callable[[], Any]) -> tuple[Any, str]:
    jax.block_until_ready(function())
    wall, processor = time.perf_counter(), time.process_time()
    result = jax.block_until_ready(function())
    processor = time.process_time() - processor
    return result, f"{processor:.2f} ({time.perf_counter() - wall:.2f})"


def measure(neurons: int, num_frequencies: int) -> list[str]:
    frequencies = np.geomspace(1.0, 400.0, num_frequencies)
    signal = np.array([0.3, -0.2])
    layer = network_of(neurons)
    # Of which spectra need no stability, since nothing comes back.
    alone = rl.Layer(layer.neuron, layer.encoder, layer.decoder, layer.bias)
    at, state = timed(lambda: rl.analysis.stationary_state(layer, signal, dt=DT))
    at_alone = rl.analysis.stationary_state(alone, signal, dt=DT)
    calls = (
        lambda: rl.analysis.stability(layer, at=at).exponents,
        lambda: rl.analysis.transfer_function(layer, frequencies, at=at),
        lambda: rl.analysis.spectrum(alone, frequencies, at=at_alone).signals,
    )
    return [state, *(timed(call)[1] for call in calls)]


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = [1000, 10_000, 100_000]
    parser.add_argument("--neurons", type=int, nargs="*", default=sizes)
    parser.add_argument("--frequencies", type=int, default=100)
    options = parser.parse_args()
    print("neurons | state | stability | transfer function | spectrum")
    for neurons in options.neurons:
        print(neurons, *measure(neurons, options.frequencies), sep=" | ", flush=True)


if __name__ == "__main__":
    main()
