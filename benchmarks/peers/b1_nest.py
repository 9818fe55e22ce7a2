"""The job B1 in NEST with dense weights, on the network that `b1_ratelike.py` wrote. Called by `run.py`.

Neurons are `pp_psc_delta`: the kernels of *all* past spikes add up, not that of the last one, so that the output is that of
another network, which fires less. A synapse for each pair of neurons, since spikes cannot be decoded into graded latents
there. The input comes as one current per latent, with the encoder as weights.

NEST takes the potential at the end of a step, and a spike arrives one step after it: the outputs are of first order in the
step, and late by half a step per layer.
"""

import argparse
import json
import time

import nest
import numpy as np


def build(data: dict, threads: int, seed: int):
    """Neurons, synapses, input and output units; NEST counts in ms."""
    dt, tau_m, capacitance = 1e3 * float(data["dt"]), 1e3 * float(data["tau_m"]), 10.0
    per_potential = capacitance / tau_m  # pA
    num_steps, latents = data["increments"].shape
    depth, num_neurons, _ = data["encoders"].shape
    nest.ResetKernel()
    nest.resolution = dt
    nest.local_num_threads = threads
    nest.rng_seed = seed
    tau = 1e3 * float(data["tau"])
    settings = dict(
        tau_m=tau_m,
        C_m=capacitance,
        c_1=0.0,
        c_2=float(data["rate"]),
        c_3=1.0,
        dead_time=1e3 * float(data["dead_time"]) - dt,
        with_reset=False,
        q_sfa=[float(data["amplitude"])],
        tau_sfa=[tau],
    )
    layers = []
    for _ in range(depth):
        layer = nest.Create("pp_psc_delta", num_neurons, settings)
        layer.I_e = list(per_potential * data["bias"].astype(float))
        layer.V_m = list(data["bias"].astype(float))
        layers.append(layer)
    currents = per_potential * data["increments"].astype(float) / float(data["dt"])
    # The first change must lie after 0: all is one step late, see `error`.
    times = np.round(dt * np.arange(1, num_steps + 1), 6)
    for k in range(latents):
        generator = nest.Create(
            "step_current_generator",
            dict(amplitude_times=times, amplitude_values=currents[:, k]),
        )
        weights = data["encoders"][0, :, k].astype(float)[:, None]
        connect(generator, layers[0], weights, dt)
    gain = -np.expm1(-dt / tau_m) / float(data["dt"]) / num_neurons
    for layer in range(depth - 1):
        encoder = data["encoders"][layer + 1].astype(float)
        weights = gain * encoder @ data["decoders"][layer].astype(float).T
        connect(layers[layer], layers[layer + 1], weights, dt)
    # Units that only integrate.
    outputs = nest.Create(
        "iaf_psc_delta",
        latents,
        dict(tau_m=tau_m, C_m=capacitance, E_L=0.0, V_m=0.0, V_th=1e9, V_reset=0.0),
    )
    connect(layers[-1], outputs, gain * data["decoders"][-1].astype(float).T, dt)
    meter = nest.Create("multimeter", dict(record_from=["V_m"], interval=dt))
    nest.Connect(meter, outputs)
    return meter, outputs


def connect(before, after, weights, delay: float) -> None:
    synapses = dict(
        synapse_model="static_synapse",
        weight=np.ascontiguousarray(weights),
        delay=delay,
    )
    nest.Connect(before, after, "all_to_all", synapses)


def error(meter, outputs, data: dict, burn_in: int = 400) -> float:
    """Mean absolute difference of the outputs to those of the generalised rate network of SRM0 neurons."""
    events = meter.events
    order = np.lexsort((events["times"], events["senders"]))
    traces = events["V_m"][order].reshape(len(outputs), -1).T
    expected = data["expected_outputs"]
    # One step for the start of the input and one for the last synapse; half a step for each of three layers.
    late = 2 + len(data["encoders"]) // 2
    count = len(expected)
    traces = 0.5 * (traces[late : late + count] + traces[late + 1 : late + 1 + count])
    return float(np.abs(traces - expected)[burn_in:].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", help="file of b1_ratelike.py --export")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    nest.verbosity = nest.VerbosityLevel.ERROR
    data = dict(np.load(options.network))
    num_steps, dt = len(data["increments"]), 1e3 * float(data["dt"])
    build_times, run_times = [], []
    for repeat in range(options.repeats):
        begin = time.perf_counter()
        meter, outputs = build(data, options.threads, seed=2 + repeat)
        nest.Prepare()
        build_times.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        nest.Run(num_steps * dt)
        run_times.append(time.perf_counter() - begin)
        nest.Run(5 * dt)
        nest.Cleanup()
    result = dict(build_time=build_times[0], run_times=run_times)
    print(json.dumps(result | dict(error=error(meter, outputs, data))))


if __name__ == "__main__":
    main()
