"""Spike trains of single neurons in Brian2, for examples/studies/fit_neuron.py: written to examples/studies/fit_neuron_brian2.npz.

    python benchmarks/peers/reference_brian2_trains.py

Leaky integrate-and-fire neurons with escape noise, each with parameters of its own, which all hear one signal x(t): a sum of
sines, held for 1 ms at a time, so that ratelike takes the same. Steps of 0.05 ms; reference_brian2.py says why the equations
stand for continuous time. In the file: the parameters in SI units, the frequencies and phases of x, and of each spike the neuron and the
time in steps (a spike of step n is in its middle on average).
"""

import tempfile
from pathlib import Path

import brian2 as b2
import numpy as np

FILE = Path(__file__).parents[2] / "examples/studies/fit_neuron_brian2.npz"
DT, SAMPLE, DURATION, SEED = 0.05e-3, 1e-3, 100.0, 20_262
PARAMETERS = dict(
    threshold=np.array([0.5, 1.0, 1.5, 0.0]),
    width=np.array([0.5, 0.8, 1.0, 0.6]),
    tau_m=np.array([10e-3, 15e-3, 20e-3, 8e-3]),
    v_reset=np.array([-2.0, -1.0, -3.0, -4.0]),
)
RATE, DEAD_TIME, MEMORY = 10.0, 3e-3, 200e-3
EQUATIONS = """
dv/dt = (x(t) - v)/tau_m : 1
tau_m : second (constant)
threshold_ : 1 (constant)
width : 1 (constant)
v_reset : 1 (constant)
age = t - lastspike : second
open = 1 - 0.5*int(age < dead_time + 0.5*dt) : 1
u = x(t) + (v - x(t))*exp(0.5*dt/tau_m) : 1
rho = rate*exp((u - threshold_)/width) : Hz
"""


GENERATOR = np.random.default_rng(SEED)
# Hz and radians; of mean 0.7 and standard deviation 1.
FREQUENCIES = GENERATOR.uniform(0.5, 40.0, 40)
PHASES = GENERATOR.uniform(0.0, 2.0 * np.pi, 40)


def signal() -> np.ndarray:
    times = np.arange(round(DURATION / SAMPLE)) * SAMPLE
    waves = np.sin(2.0 * np.pi * np.outer(times, FREQUENCIES) + PHASES)
    return 0.7 + waves.sum(axis=1) / np.sqrt(20.0)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        b2.set_device("cpp_standalone", directory=folder)
        b2.defaultclock.dt = DT * b2.second
        b2.seed(SEED)
        group = b2.NeuronGroup(
            len(PARAMETERS["width"]),
            EQUATIONS,
            threshold="rand() < -expm1(-dt*rho*open)",
            reset="v = x(t) + (v_reset - x(t))*exp(-0.5*dt/tau_m)",
            refractory="dead_time",
            method="exact",
            namespace=dict(
                x=b2.TimedArray(signal(), dt=SAMPLE * b2.second),
                rate=RATE * b2.Hz,
                dead_time=DEAD_TIME * b2.second,
            ),
        )
        group.tau_m = PARAMETERS["tau_m"] * b2.second
        group.threshold_ = PARAMETERS["threshold"]
        group.width, group.v_reset = PARAMETERS["width"], PARAMETERS["v_reset"]
        spikes = b2.SpikeMonitor(group)
        b2.Network(group, spikes).run(DURATION * b2.second)
        steps = np.round(spikes.t / b2.second / DT).astype(np.int32)
        neurons = np.asarray(spikes.i).astype(np.uint8)
    print(np.bincount(neurons) / DURATION, "Hz")
    np.savez_compressed(
        FILE,
        program=f"Brian2 {b2.__version__}",
        frequencies=FREQUENCIES,
        phases=PHASES,
        sample=SAMPLE,
        duration=DURATION,
        dt=DT,
        steps=steps,
        neurons=neurons,
        rate=RATE,
        dead_time=DEAD_TIME,
        memory=MEMORY,
        **PARAMETERS,
    )


if __name__ == "__main__":
    main()
