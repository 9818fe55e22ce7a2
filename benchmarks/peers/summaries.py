"""What is kept of a run of another simulator: rate, intervals, response to a step, each with its standard error.

Used by `reference_brian2.py` and `reference_nest.py`, in an environment that knows neither JAX nor ratelike.
"""

import json
from datetime import date
from pathlib import Path

import numpy as np

# Constant input, a step up, a step back; seconds.
STEP_UP, STEP_DOWN, END = 1.0, 1.15, 1.3
# What is taken for stationary: the neurons start as never fired.
SETTLED = 0.3
# Intervals that begin in here are followed for as long as it takes, up to `LONGEST`.
LAST_INTERVAL_BEGINS = 0.6
LONGEST = 0.4
EDGE_GRID = 0.25e-3
ONSET = 0.1  # from the beginning, when no neuron has ever fired
BIN = 2.5e-3
INTERVAL_BINS = 40

REFERENCE = Path(__file__).resolve().parents[2] / "tests" / "oracles" / "reference"


def input_steps(dt: float, base: float, step: float) -> np.ndarray:
    """The potential towards which the membrane relaxes, in each step of the simulation."""
    up, down, end = (round(time / dt) for time in (STEP_UP, STEP_DOWN, END))
    values = np.full(end, float(base))
    values[up:down] += step
    return values


def summary(
    steps: np.ndarray, neurons: np.ndarray, num_neurons: int, dt: float
) -> dict:
    """Of all spikes: the step in which each was fired (the first is 0), and the neuron that fired it."""
    order = np.lexsort((steps, neurons))
    steps, neurons = steps[order], neurons[order]
    return dict(
        num_neurons=num_neurons,
        dt=dt,
        stationary=_stationary(steps, neurons, num_neurons, dt),
        intervals=_intervals(steps, neurons, dt),
        onset=_response(steps, neurons, num_neurons, dt, 0.0, ONSET),
        response=_response(steps, neurons, num_neurons, dt, STEP_UP, END),
    )


def _stationary(steps, neurons, num_neurons, dt) -> dict:
    within = (steps >= round(SETTLED / dt)) & (steps < round(STEP_UP / dt))
    counts = np.bincount(neurons[within], minlength=num_neurons)
    rates = counts / (STEP_UP - SETTLED)
    error = rates.std(ddof=1) / np.sqrt(num_neurons)
    return dict(rate=rounded(rates.mean()), standard_error=rounded(error))


def _intervals(steps, neurons, dt) -> dict:
    """Of spikes in a window of time, until the next spike: by Wald's identities their counts are multinomial.

    (The window does not favour short intervals: it says when an interval begins, not when it ends.)

    Two moments in steps that are L apart are on average half a step beyond an edge of L steps, and half of them before it:
    an interval of L is one of L + U steps, U uniform in (-1/2, 1/2). Edges are odd multiples of `EDGE_GRID`, at which the
    law of a program with steps of twice that is known without interpolation.
    """
    begins, longest = steps[:-1], round(LONGEST / dt)
    same = neurons[1:] == neurons[:-1]
    within = (begins >= round(SETTLED / dt)) & (
        begins < round(LAST_INTERVAL_BEGINS / dt)
    )
    # The last spike of a neuron has a next one beyond the end of the run.
    lengths = np.where(same, steps[1:] - begins, longest)[within]
    lengths = np.minimum(lengths, longest)
    jitter = np.random.default_rng(0).random(len(lengths)) - 0.5
    seconds = (lengths + jitter) * dt
    quantiles = np.quantile(seconds, np.arange(1, INTERVAL_BINS) / INTERVAL_BINS)
    odd = np.unique(np.floor(quantiles / (2.0 * EDGE_GRID)).astype(int)) * 2 + 1
    edges = np.round(odd * EDGE_GRID, 9)
    counts = np.bincount(np.searchsorted(edges, seconds), minlength=len(edges) + 1)
    seconds = lengths * dt
    return dict(
        # Counts of what is shorter than the first edge, between edges, and longer than the last.
        edges=edges.tolist(),
        counts=counts.tolist(),
        mean=rounded(seconds.mean()),
        coefficient_of_variation=rounded(seconds.std() / seconds.mean()),
        shortest=rounded(seconds.min()),
    )


def _response(steps, neurons, num_neurons, dt, begin, end) -> dict:
    """Rate in bins of time from `begin` to `end`; the error from the variance between neurons."""
    width, num_bins = round(BIN / dt), round((end - begin) / BIN)
    since = steps - round(begin / dt)
    within = (since >= 0) & (since < num_bins * width)
    flat = (since[within] // width) * num_neurons + neurons[within]
    cells, counts = np.unique(flat, return_counts=True)
    bins = cells // num_neurons
    first = np.bincount(bins, counts, minlength=num_bins) / num_neurons
    second = np.bincount(bins, counts**2, minlength=num_bins) / num_neurons
    error = np.sqrt((second - first**2) / num_neurons)
    return dict(
        begin=begin,
        bin=BIN,
        rate=rounded(first / BIN),
        standard_error=rounded(error / BIN),
    )


def rounded(values, digits: int = 6):
    """Six digits are far below any standard error of the sampled quantities."""
    if np.ndim(values) == 0:
        return float(f"{values:.{digits}g}")
    return [rounded(value, digits) for value in values]


def save(name: str, program: str, command: str, cases: dict) -> None:
    REFERENCE.mkdir(exist_ok=True)
    text = json.dumps(
        dict(
            program=program,
            date=date.today().isoformat(),
            command=command,
            protocol=dict(
                step_up=STEP_UP,
                step_down=STEP_DOWN,
                end=END,
                settled=SETTLED,
                last_interval_begins=LAST_INTERVAL_BEGINS,
            ),
            cases=cases,
        ),
        indent=1,
    )
    (REFERENCE / name).write_text(_on_one_line(text) + "\n")


def _on_one_line(text: str) -> str:
    """Lists of numbers in a line each."""
    lines, depth = [], 0
    for line in text.split("\n"):
        if depth > 0:
            lines[-1] += line.strip() + ("" if line.strip().endswith("]") else " ")
        else:
            lines.append(line)
        depth += line.count("[") - line.count("]")
    return "\n".join(line.replace(" ]", "]").rstrip() for line in lines)
