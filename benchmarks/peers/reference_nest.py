"""Single neurons and populations in NEST, summarised into tests/oracles/reference/nest.json.

    python benchmarks/peers/reference_nest.py

Needs NEST, in an environment of its own (see README.md). `parameters` in the file are those of the *matching* ratelike
neuron, in SI units; what NEST was given stands here. NEST counts in ms.

*Discretisation.* Steps of 0.05 ms; the parameters are those of continuous time, up to the second order of the step. NEST
advances the membrane and then draws with the potential at the *end* of the step, half a step ahead of the mean moment of the
spike; and a neuron whose first step after the dead time is d steps after the spike behaves like one with a dead time shorter
by half a step. Neither can be set right for one neuron. So every population has two halves: an early one, whose shortest
interval is the dead time and whose input steps up and down with the protocol, and a late one, both one step later. In their
mean the errors of first order cancel. What a spike does to the potential differs between the models; see each function.
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

DT = 0.05e-3
STEP = 1e3 * DT  # ms
TAU_M = 10.0  # ms
CAPACITANCE = (
    10.0  # pF; with TAU_M a leak of 1 nS, so that a current in pA is a potential in mV
)


def fresh(dt: float, seed: int, threads: int = 1) -> None:
    nest.ResetKernel()
    nest.resolution = 1e3 * dt
    nest.local_num_threads = threads
    nest.rng_seed = seed


def stepped_population(
    model: str, num_neurons: int, settings: dict, late: dict, base: float, step: float
) -> dict:
    """A population under constant input, a step up and a step down. All neurons begin at the potential `base`.

    `late` are settings of every second neuron, whose input changes one step later.
    """
    settings = settings | dict(C_m=CAPACITANCE, V_m=base, I_e=base)
    neurons = nest.Create(model, num_neurons, settings)
    early_half, late_half = neurons[::2], neurons[1::2]
    late_half.set(late)
    recorder = nest.Create("spike_recorder")
    nest.Connect(neurons, recorder)
    for change, current in ((STEP_UP, base + step), (STEP_DOWN, base)):
        run_until(change)
        early_half.I_e = current
        run_until(change + DT)
        late_half.I_e = current
    run_until(END)
    events = recorder.events
    # A spike of step n carries the time of the end of the step.
    steps = np.round(events["times"] / STEP).astype(int) - 1
    return summary(steps, events["senders"] - neurons[0].global_id, num_neurons, DT)


def run_until(seconds: float) -> None:
    nest.Simulate(1e3 * seconds - nest.biological_time)


def dead_time_of_halves(dead_time: float) -> tuple[dict, dict]:
    """For `pp_psc_delta`, in ms: with a counter of d steps, the shortest interval is d+1 steps."""
    return dict(dead_time=dead_time - STEP), dict(dead_time=dead_time)


def dead_time(num_neurons: int) -> dict:
    """`pp_psc_delta` without reset: an exponential escape rate and a dead time, nothing else."""
    base, step = 1.0, 1.5
    fresh(DT, 1)
    early, late = dead_time_of_halves(5.0)
    settings = dict(tau_m=TAU_M, c_1=0.0, c_2=20.0, c_3=1.0, with_reset=False)
    run = stepped_population(
        "pp_psc_delta", num_neurons, settings | early, late, base, step
    )
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

    The adaptation decays by one step before the hazard of the next step is taken, as it should.
    """
    base, step = 1.0, 1.0
    amplitude, tau = 5.0, 20.0
    fresh(DT, 2)
    early, late = dead_time_of_halves(2.0)
    settings = dict(
        tau_m=TAU_M,
        c_1=0.0,
        c_2=10.0,
        c_3=1.0,
        with_reset=False,
        q_sfa=[amplitude],
        tau_sfa=[tau],
    )
    run = stepped_population(
        "pp_psc_delta", num_neurons, settings | early, late, base, step
    )
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

    NEST resets at the end of the step of the spike, the moment at which the hazard of that step was taken, and decays by
    one step until the next hazard: nothing to correct.
    """
    base, step, threshold = 5.0, 1.0, 4.0
    fresh(DT, 3)
    early, late = dead_time_of_halves(2.0)
    settings = dict(
        tau_m=TAU_M,
        c_1=0.0,
        c_2=10.0 * np.exp(-threshold),
        c_3=1.0,
        with_reset=True,
    )
    run = stepped_population(
        "pp_psc_delta", num_neurons, settings | early, late, base, step
    )
    parameters = dict(
        tau_m=10e-3,
        rate=10.0,
        threshold=threshold,
        width=1.0,
        v_reset=0.0,
        dead_time=2e-3,
        memory=100e-3,
        base=base,
        step=step,
    )
    return dict(parameters=parameters, **run)


def gif(num_neurons: int, dead_time: float, seed: int) -> dict:
    """`gif_psc_exp` without adaptation: LIF with escape noise; `dead_time` in ms.

    NEST holds the membrane at the reset for d steps, and lets it go then; the shortest interval is d+1 steps. ratelike's
    membrane starts at the spike, and only firing is suppressed. NEST's reset is therefore what the membrane has become in
    d steps, exactly so at the potential `base`. The least d is 1: for no dead time this is off, during the response to the
    step, by 0.5% of the change of h since the spike. With a true dead time the two agree at `base` only.
    """
    base, step, v_reset = 1.0, 1.0, -4.0
    fresh(DT, seed)
    held = max(dead_time - STEP, STEP)
    settings = dict(
        g_L=CAPACITANCE / TAU_M,
        E_L=0.0,
        V_T_star=0.0,
        Delta_V=1.0,
        lambda_0=10.0,
        V_reset=base + (v_reset - base) * np.exp(-held / TAU_M),
        t_ref=held,
    )
    run = stepped_population("gif_psc_exp", num_neurons, settings, {}, base, step)
    parameters = dict(
        tau_m=10e-3,
        rate=10.0,
        threshold=0.0,
        width=1.0,
        v_reset=v_reset,
        dead_time=1e-3 * dead_time,
        memory=100e-3,
        base=base,
        step=step,
    )
    return dict(parameters=parameters, **run)


def mean_of_population(repeats: int) -> dict:
    """`gif_pop_psc_exp`: the recordable `mean`, the expected number of spikes of a population given its past.

    It draws whole numbers of spikes, but for so many neurons they hardly differ from their expectation; the standard
    error is taken over `repeats` populations. Its hazard of a step is the mean of both ends. The potential is held at the
    reset for t_ref = dt, which goes with dt: the case is run at two time steps, to be extrapolated to dt = 0. The input
    comes as a current, which arrives one step after it was sent.

    The first 0.3 s are left out: the population does not begin as one whose neurons have never fired.
    """
    num_neurons, base, step, v_reset = 10**7, 1.0, 1.0, -4.0
    begin, left_out = STEP_UP - 0.5, 0.3
    runs = []
    for dt in (2.0 * DT, DT):
        fresh(dt, 6)
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
        dead_time=0.0,
        memory=100e-3,
        base=base,
        step=step,
    )
    return dict(parameters=parameters, repeats=repeats, runs=runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neurons", type=int, default=50_000)
    options = parser.parse_args()
    nest.verbosity = nest.VerbosityLevel.ERROR
    cases = dict(
        dead_time=dead_time(2 * options.neurons),
        accumulating=accumulating(options.neurons),
        reset=reset(options.neurons),
        gif=gif(options.neurons, dead_time=0.0, seed=4),
        gif_held=gif(options.neurons, dead_time=2.0, seed=5),
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
