"""NEST's `gif_psc_exp` under input spikes, with `tau_syn_ex` and a delay, into tests/oracles/reference/nest_synapse.json.

    python benchmarks/peers/reference_nest_synapse.py

Needs NEST, in an environment of its own (see README.md). The neuron and what is kept are those of `reference_nest.gif`; the
input is a constant current and, from STEP_UP on, a few volleys. A volley is a signal that is constant for `VOLLEY` seconds
and has the area `area`: in NEST spikes in each step of it, the first and the last of which count half. A spike of weight w
adds w exp(-t / tau_syn) to the current, the kernel of an exponential synapse times w tau_syn. What arrives at the end of a
step acts from then on, exactly. Every second neuron gets its input one step later: see `reference_nest`.
"""

import argparse

import nest
import numpy as np
from reference_nest import CAPACITANCE, DT, STEP, TAU_M, fresh, run_until
from summaries import END, STEP_UP, save, summary

VOLLEY = 0.5e-3
VOLLEYS = STEP_UP + np.array([0.0, 20e-3, 30e-3, 100e-3, 150e-3, 200e-3])
TAU_SYN, DELAY = 5e-3, 3e-3
BASE, V_RESET, AREA = 1.0, -4.0, 25e-3  # mV, mV, mV s


def volleys(num_neurons: int) -> dict:
    fresh(DT, 7)
    settings = dict(
        g_L=CAPACITANCE / TAU_M,
        E_L=0.0,
        C_m=CAPACITANCE,
        V_m=BASE,
        I_e=BASE,
        V_T_star=0.0,
        Delta_V=1.0,
        lambda_0=10.0,
        V_reset=BASE + (V_RESET - BASE) * np.exp(-STEP / TAU_M),
        t_ref=STEP,
        tau_syn_ex=1e3 * TAU_SYN,
    )
    neurons = nest.Create("gif_psc_exp", num_neurons, settings)
    recorder = nest.Create("spike_recorder")
    nest.Connect(neurons, recorder)
    per_volley = round(VOLLEY / DT)
    shares = np.full(per_volley + 1, 1.0 / per_volley)
    shares[[0, -1]] *= 0.5
    steps = np.round(VOLLEYS / DT)[:, None] + np.arange(per_volley + 1)
    generator = nest.Create(
        "spike_generator",
        dict(
            spike_times=np.round(steps.ravel() * STEP, 6),
            spike_weights=np.tile(shares * AREA / TAU_SYN, len(VOLLEYS)),
        ),
    )
    for half, later in ((neurons[::2], 0.0), (neurons[1::2], STEP)):
        nest.Connect(generator, half, syn_spec=dict(delay=1e3 * DELAY + later))
    run_until(END)
    events = recorder.events
    fired = np.round(events["times"] / STEP).astype(int) - 1
    found = summary(fired, events["senders"] - neurons[0].global_id, num_neurons, DT)
    parameters = dict(
        tau_m=10e-3,
        rate=10.0,
        threshold=0.0,
        width=1.0,
        v_reset=V_RESET,
        dead_time=0.0,
        memory=100e-3,
        base=BASE,
        tau_syn=TAU_SYN,
        delay=DELAY,
        volleys=VOLLEYS.tolist(),
        volley=VOLLEY,
        area=AREA,
    )
    return dict(parameters=parameters, **found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neurons", type=int, default=50_000)
    options = parser.parse_args()
    nest.verbosity = nest.VerbosityLevel.ERROR
    save(
        "nest_synapse.json",
        f"NEST {nest.__version__}",
        "python benchmarks/peers/reference_nest_synapse.py",
        dict(volleys=volleys(options.neurons)),
    )


if __name__ == "__main__":
    main()
