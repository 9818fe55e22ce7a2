"""Single neurons and populations in NEST, summarised into tests/reference/nest.json.

    python benchmarks/peers/reference_nest.py

Needs NEST, in an environment of its own (see README.md). `parameters` in the file are those of the *matching* ratelike
neuron, in SI units; what NEST was given stands here. NEST counts in ms.

*Discretisation.* NEST advances the membrane of step n before it looks at the hazard: a spike of step n sees the
potential at the end of the step, as in Brian2, and the input of ratelike has to come one step earlier. What a spike
does differs between the models; see each function.
"""

import argparse

import nest
import numpy as np
from summaries import (
    BIN,
    END,
    STEP_DOWN,
    STEP_UP,
    input_steps,
    rounded,
    save,
    summary,
)

TAU_M = 10.0  # ms
CAPACITANCE = (
    10.0  # pF; with TAU_M a leak of 1 nS, so that a current in pA is a potential in mV
)


def fresh(dt: float, seed: int, threads: int = 2) -> None:
    nest.ResetKernel()
    nest.resolution = 1e3 * dt
    nest.local_num_threads = threads
    nest.rng_seed = seed


def stepped_population(
    model: str, num_neurons: int, settings: dict, dt: float, base: float, step: float
) -> dict:
    """A population under constant input, a step up and a step down. All neurons begin at the potential `base`."""
    settings = settings | dict(C_m=CAPACITANCE, V_m=base, I_e=base)
    neurons = nest.Create(model, num_neurons, settings)
    recorder = nest.Create("spike_recorder")
    nest.Connect(neurons, recorder)
    for current, end in ((base, STEP_UP), (base + step, STEP_DOWN), (base, END)):
        neurons.I_e = current
        nest.Simulate(1e3 * end - nest.biological_time)
    events = recorder.events
    # A spike of step n carries the time of the end of the step.
    steps = np.round(events["times"] / (1e3 * dt)).astype(int) - 1
    return summary(steps, events["senders"] - neurons[0].global_id, num_neurons, dt)


def dead_time(num_neurons: int) -> dict:
    """`pp_psc_delta` without reset: an exponential escape rate and a dead time, nothing else.

    After a spike in step n the counter of the dead time blocks the steps n+1, ..., n+d, so that the shortest interval
    is d+1 steps, as in ratelike.
    """
    dt, base, step = 0.5e-3, 1.0, 1.5
    fresh(dt, 1)
    settings = dict(
        tau_m=TAU_M, c_1=0.0, c_2=20.0, c_3=1.0, dead_time=5.0, with_reset=False
    )
    run = stepped_population("pp_psc_delta", num_neurons, settings, dt, base, step)
    parameters = dict(
        tau_m=10e-3,
        rate=20.0,
        threshold=0.0,
        width=1.0,
        amplitude=0.0,
        tau=20e-3,
        dead_time=5e-3,
        memory=100e-3,
        base=base,
        step=step,
    )
    return dict(parameters=parameters, **run)


def accumulating(num_neurons: int) -> dict:
    """`pp_psc_delta` with one exponential adaptation: kernels of all past spikes add up. This is not SRM0.

    The adaptation decays before the hazard of the next step is taken, so that q_sfa exp(-dt/tau) is the amplitude in
    the step after the spike, at ratelike's age 0.
    """
    dt, base, step = 0.5e-3, 1.0, 1.0
    amplitude, tau = 5.0, 20.0
    fresh(dt, 2)
    settings = dict(
        tau_m=TAU_M,
        c_1=0.0,
        c_2=10.0,
        c_3=1.0,
        dead_time=2.0,
        with_reset=False,
        q_sfa=[amplitude * np.exp(1e3 * dt / tau)],
        tau_sfa=[tau],
    )
    run = stepped_population("pp_psc_delta", num_neurons, settings, dt, base, step)
    parameters = dict(
        tau_m=10e-3,
        rate=10.0,
        threshold=0.0,
        width=1.0,
        amplitude=amplitude,
        tau=20e-3,
        dead_time=2e-3,
        memory=100e-3,
        base=base,
        step=step,
    )
    return dict(parameters=parameters, **run)


def reset(num_neurons: int) -> dict:
    """`pp_psc_delta` with reset (to 0) and dead time, in which the membrane goes on: LIF.

    NEST resets in the step of the spike, *before* the next update, so that one step later u is h + (v - h) exp(-dt/tau_m);
    ratelike's u is still v there. `v_reset` is moved by that step, exactly so at the potential `base`; during the
    response to the step it is off by up to (1 - exp(-dt/tau_m)) times the change of h, 1% of it.
    """
    dt, base, step, threshold = 0.1e-3, 5.0, 1.0, 4.0
    fresh(dt, 3)
    settings = dict(
        tau_m=TAU_M,
        c_1=0.0,
        c_2=10.0 * np.exp(-threshold),
        c_3=1.0,
        dead_time=2.0,
        with_reset=True,
    )
    run = stepped_population("pp_psc_delta", num_neurons, settings, dt, base, step)
    parameters = dict(
        tau_m=10e-3,
        rate=10.0,
        threshold=threshold,
        width=1.0,
        v_reset=float(base * -np.expm1(-1e3 * dt / TAU_M)),
        dead_time=2e-3,
        memory=100e-3,
        base=base,
        step=step,
    )
    return dict(parameters=parameters, **run)


def gif(num_neurons: int, refractory_steps: int, seed: int) -> dict:
    """`gif_psc_exp` without adaptation: LIF with escape noise.

    NEST holds the membrane at the reset for t_ref and starts it then; ratelike's membrane starts at the spike and only
    firing is suppressed. With t_ref = dt both are the same neuron, but for the h of the mark, which is one step later
    in NEST. For a longer t_ref, `v_reset` is moved so that the two agree at the potential `base`, and only there.
    """
    dt, base, step, v_reset = 0.1e-3, 1.0, 1.0, -4.0
    fresh(dt, seed)
    settings = dict(
        g_L=CAPACITANCE / TAU_M,
        E_L=0.0,
        V_T_star=0.0,
        Delta_V=1.0,
        lambda_0=10.0,
        V_reset=v_reset,
        t_ref=1e3 * dt * refractory_steps,
    )
    run = stepped_population("gif_psc_exp", num_neurons, settings, dt, base, step)
    held = 1e3 * dt * (refractory_steps - 1)
    parameters = dict(
        tau_m=10e-3,
        rate=10.0,
        threshold=0.0,
        width=1.0,
        v_reset=float(base + (v_reset - base) * np.exp(held / TAU_M)),
        dead_time=dt * refractory_steps,
        memory=100e-3,
        base=base,
        step=step,
    )
    return dict(parameters=parameters, **run)


def mean_of_population(repeats: int) -> dict:
    """`gif_pop_psc_exp`: the recordable `mean`, the expected number of spikes of a population given its past.

    It draws whole numbers of spikes, but for so many neurons they hardly differ from their expectation; the standard
    error is taken over `repeats` populations. Its hazard of a step is the mean of both ends, where ratelike takes the
    beginning; the potential is held at the reset for t_ref = dt. All this goes with dt: the case is run at two time
    steps, to be extrapolated to dt = 0. The input comes as a current, which arrives one step after it was sent.

    The first 0.3 s are left out: the population does not begin as one whose neurons have never fired.
    """
    num_neurons, base, step, v_reset = 10**7, 1.0, 1.0, -4.0
    begin, left_out = STEP_UP - 0.5, 0.3
    runs = []
    for dt in (0.1e-3, 0.05e-3):
        fresh(dt, 6, threads=1)
        populations = nest.Create(
            "gif_pop_psc_exp",
            repeats,
            dict(
                N=num_neurons,
                tau_m=TAU_M,
                C_m=CAPACITANCE,
                t_ref=1e3 * dt,
                E_L=0.0,
                V_m=base,
                V_reset=v_reset,
                V_T_star=0.0,
                Delta_V=1.0,
                lambda_0=10.0,
                I_e=base,
                q_sfa=[0.0],
                tau_sfa=[100.0],
                len_kernel=round(100e-3 / dt),
            ),
        )
        drive = input_steps(dt, 0.0, step)[round(begin / dt) :]
        changes = np.flatnonzero(np.diff(drive)) + 1
        generator = nest.Create(
            "step_current_generator",
            dict(
                # It sends what acts in the step after; times are ends of steps.
                amplitude_times=np.round(1e3 * dt * changes, 6),
                amplitude_values=drive[changes],
            ),
        )
        nest.Connect(generator, populations, syn_spec=dict(delay=1e3 * dt))
        meter = nest.Create("multimeter", dict(record_from=["mean"], interval=1e3 * dt))
        nest.Connect(meter, populations)
        nest.Simulate(1e3 * dt * (len(drive) + 1))
        events = meter.events
        order = np.lexsort((events["times"], events["senders"]))
        mean = events["mean"][order].reshape(repeats, -1) / num_neurons / dt
        mean = mean[:, round(left_out / dt) : len(drive)]
        bins = mean.reshape(repeats, -1, round(BIN / dt)).mean(axis=2)
        error = bins.std(axis=0, ddof=1) / np.sqrt(repeats)
        runs.append(
            dict(
                dt=dt,
                begin=begin + left_out,
                bin=BIN,
                rate=rounded(bins.mean(axis=0), digits=8),
                standard_error=rounded(error),
            )
        )
    parameters = dict(
        tau_m=10e-3,
        rate=10.0,
        threshold=0.0,
        width=1.0,
        v_reset=v_reset,
        dead_time="dt",
        memory=100e-3,
        base=base,
        step=step,
    )
    return dict(parameters=parameters, repeats=repeats, runs=runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neurons", type=int, default=20_000)
    options = parser.parse_args()
    nest.verbosity = nest.VerbosityLevel.ERROR
    cases = dict(
        dead_time=dead_time(5 * options.neurons),
        accumulating=accumulating(options.neurons),
        reset=reset(options.neurons),
        gif=gif(options.neurons, refractory_steps=1, seed=4),
        gif_held=gif(options.neurons, refractory_steps=20, seed=5),
        mean_of_population=mean_of_population(repeats=16),
    )
    save(
        "nest.json",
        f"NEST {nest.__version__}",
        "python benchmarks/peers/reference_nest.py",
        cases,
    )


if __name__ == "__main__":
    main()
