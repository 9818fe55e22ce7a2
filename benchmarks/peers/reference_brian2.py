"""Single neurons and populations in Brian2, summarised into tests/reference/brian2.json.

    python benchmarks/peers/reference_brian2.py

Needs Brian2 and a C++ compiler, in an environment of their own (see README.md). Each neuron is written in equations:
escape rate, refractory kernel of the last spike, dead time.

*Discretisation.* Brian2 updates the state of step n before it looks at the threshold, so that a spike of step n sees the
potential at the *end* of the step; ratelike's sees the one at its beginning. The input of ratelike therefore has to
come one step earlier. `lastspike` is the beginning of the step of the last spike: the age, counted from the step after
it, is `t - lastspike - dt`, and Brian2's `refractory` is longer than ratelike's dead time by one step.
"""

import argparse
import tempfile

import brian2 as b2
import numpy as np
from summaries import END, input_steps, save, summary

DT = 0.5e-3
BASE, STEP = 1.0, 1.0

MEMBRANE = """
dh/dt = (target(t) - h)/tau_m : 1
age = clip(t - lastspike - dt, 0*ms, memory) : second
"""
FIRES = "rand() < -expm1(-dt*rho)"
# Brian2 counts from the step of the spike.
REFRACTORY = "dead_time + dt"

SRM0 = dict(
    equations=MEMBRANE
    + """
u = h - amplitude*exp(-age/tau) : 1
rho = rate*exp((u - threshold)/width) : Hz
""",
    reset="",
    parameters=dict(
        tau_m=10e-3,
        rate=10.0,
        threshold=0.0,
        width=1.0,
        amplitude=5.0,
        tau=20e-3,
        dead_time=2e-3,
        memory=100e-3,
    ),
)

# Every second neuron is more refractory.
SIGMOID_POWER_LAW = dict(
    equations=MEMBRANE
    + """
amplitude = weak + (strong - weak)*(i % 2) : 1
u = h - amplitude/(1 + age/tau)**exponent : 1
rho = largest/(1 + exp(-(u - threshold)/width)) : Hz
""",
    reset="",
    parameters=dict(
        tau_m=5e-3,
        largest=200.0,
        threshold=2.5,
        width=0.8,
        weak=2.0,
        strong=6.0,
        tau=10e-3,
        exponent=1.5,
        dead_time=3e-3,
        memory=150e-3,
    ),
)

# The membrane v is reset; h, beside it, never is. On its grid, ratelike resets at the end of the step of the spike, when
# the membrane has received the input of that step: v is set to what becomes of it with the next update.
LIF = dict(
    equations=MEMBRANE
    + """
dv/dt = (target(t) - v)/tau_m : 1
rho = rate*exp((v - threshold)/width) : Hz
""",
    reset="v = (v_reset - (1 - exp(-dt/tau_m))*h)*exp(dt/tau_m)",
    parameters=dict(
        tau_m=10e-3,
        rate=10.0,
        threshold=0.0,
        width=1.0,
        v_reset=-5.0,
        dead_time=2e-3,
        memory=100e-3,
    ),
)

MODELS = dict(srm0=SRM0, sigmoid_power_law=SIGMOID_POWER_LAW, lif=LIF)
UNITS = dict(
    tau_m=b2.second,
    tau=b2.second,
    dead_time=b2.second,
    memory=b2.second,
    rate=b2.Hz,
    largest=b2.Hz,
)


def population(model: dict, num_neurons: int) -> b2.NeuronGroup:
    parameters = model["parameters"]
    group = b2.NeuronGroup(
        num_neurons,
        model["equations"],
        threshold=FIRES,
        reset=model["reset"],
        refractory=REFRACTORY,
        method="exact",
        namespace=dict(
            {name: value * UNITS.get(name, 1) for name, value in parameters.items()},
            target=b2.TimedArray(input_steps(DT, BASE, STEP), dt=DT * b2.second),
        ),
    )
    group.h = BASE
    if "v" in group.variables:
        group.v = BASE
    return group


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neurons", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        b2.set_device("cpp_standalone", directory=folder)
        b2.defaultclock.dt = DT * b2.second
        b2.seed(20_261)
        groups = {
            name: population(model, options.neurons) for name, model in MODELS.items()
        }
        spikes = {name: b2.SpikeMonitor(group) for name, group in groups.items()}
        network = b2.Network(*groups.values(), *spikes.values())
        network.run(END * b2.second)
        cases = {
            name: dict(
                parameters=model["parameters"] | dict(base=BASE, step=STEP),
                **summary(
                    np.round(spikes[name].t / b2.second / DT).astype(int),
                    np.asarray(spikes[name].i),
                    options.neurons,
                    DT,
                ),
            )
            for name, model in MODELS.items()
        }
    save(
        "brian2.json",
        f"Brian2 {b2.__version__}, C++ standalone",
        "python benchmarks/peers/reference_brian2.py",
        cases,
    )


if __name__ == "__main__":
    main()
