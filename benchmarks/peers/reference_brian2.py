"""Single neurons and populations in Brian2, summarised into tests/oracles/reference/brian2.json.

    python benchmarks/peers/reference_brian2.py

Needs Brian2 and a C++ compiler, in an environment of their own (see README.md). Each neuron is written in equations:
escape rate, refractory kernel of the last spike, dead time.

*Discretisation.* Steps of 0.05 ms, and errors of second order in them, so that the parameters are those of continuous
time. A spike of a step is somewhere in it. The escape rate is therefore that of the potential in the *middle* of the step
(Brian2 looks at the threshold after it has advanced the membrane to the end: half a step back, the input being constant
during a step, is an exponential). Brian2's `lastspike` is the beginning of the step of the last spike, and so is `t` of the
present one: `t - lastspike` is the mean age. A neuron may fire again once this is the dead time, which half of all pairs of
moments in two such steps are apart: the hazard of that step is halved. The membrane of LIF is reset in the middle of the
step of the spike, and has relaxed for half a step at its end.
"""

import argparse
import tempfile

import brian2 as b2
import numpy as np
from summaries import END, input_steps, save, summary

DT = 0.05e-3
BASE, STEP = 1.0, 1.0

# `open` is what of the step lies beyond the dead time, where it is not all refractory.
MEMBRANE = """
dh/dt = (target(t) - h)/tau_m : 1
middle = target(t) + (h - target(t))*exp(0.5*dt/tau_m) : 1
age = clip(t - lastspike, 0*ms, memory) : second
open = 1 - 0.5*int(age < dead_time + 0.5*dt) : 1
"""
FIRES = "rand() < -expm1(-dt*rho*open)"

SRM0 = dict(
    equations=MEMBRANE
    + """
u = middle - amplitude*exp(-age/tau) : 1
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
u = middle - amplitude/(1 + age/tau)**exponent : 1
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

LIF = dict(
    equations=MEMBRANE
    + """
dv/dt = (target(t) - v)/tau_m : 1
u = target(t) + (v - target(t))*exp(0.5*dt/tau_m) : 1
rho = rate*exp((u - threshold)/width) : Hz
""",
    reset="v = target(t) + (v_reset - target(t))*exp(-0.5*dt/tau_m)",
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
        refractory="dead_time",
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
