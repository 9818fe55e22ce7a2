"""The job B1 in ratelike; also writes the network and its input, for the peers to run the same. Called by `run.py`."""

import argparse
import json
import time

import jax
import numpy as np

import ratelike as rl

LATENTS, DEPTH, DT, NUM_STEPS = 10, 3, 0.5e-3, 2000
TAU_M = 10e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neurons", type=int, required=True, help="per layer")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--export", help="file to write")
    options = parser.parse_args()
    neuron = rl.SRM0()
    network = rl.relay_network(
        neuron,
        num_neurons=options.neurons,
        num_latents=LATENTS,
        depth=DEPTH,
        key=jax.random.key(0),
    )
    grid = rl.TimeGrid(DT, NUM_STEPS)
    drive = rl.WienerDrive(LATENTS, tau_m=TAU_M, key=jax.random.key(1))
    increments = drive.increments(grid)

    def job(network, increments, key):
        return rl.simulate(network, increments, grid, rl.Spiking(), key=key).outputs

    keys = jax.random.split(jax.random.key(2), options.repeats)
    begin = time.perf_counter()
    compiled = jax.jit(job).lower(network, increments, keys[0]).compile()
    build_time = time.perf_counter() - begin
    run_times = []
    for key in keys:
        begin = time.perf_counter()
        outputs = jax.block_until_ready(compiled(network, increments, key))
        run_times.append(time.perf_counter() - begin)
    result = dict(build_time=build_time, run_times=run_times)
    if options.export:
        rate = rl.simulate(network, increments, grid, rl.GeneralisedRate()).outputs
        result["error"] = float(rl.mean_absolute_error(outputs, rate, burn_in=400))
        np.savez(
            options.export,
            encoders=np.stack([layer.encoder for layer in network.layers]),
            decoders=np.stack([layer.decoder for layer in network.layers]),
            bias=np.asarray(network.layers[0].bias),
            increments=np.asarray(increments),
            dt=DT,
            tau_m=TAU_M,
            rate=float(neuron.escape.rate),
            amplitude=float(neuron.refractory.amplitude),
            tau=float(neuron.refractory.tau),
            dead_time=float(neuron.dead_time),
            memory=neuron.memory,
            expected_outputs=np.asarray(rate),
        )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
