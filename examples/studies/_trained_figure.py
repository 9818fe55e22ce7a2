"""The table and the figure of `trained.py`."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from _rnn import BEGIN, END, GRID, UNITS
from matplotlib.axes import Axes

# Of each way: colour, marker, line.
STYLES = {
    "one neuron for each unit": ("0.55", "v", "-"),
    "one, trained on: rate loss": ("0.55", "D", "--"),
    "a pair for each unit": ("#D55E00", "s", "-"),
    "pairs, trained on: rate loss": ("#009E73", "^", "-"),
    "pairs, trained on: expected spiking loss": ("#0072B2", "o", "-"),
}
ONE, ONE_RATE, PAIRS, RATE, EXPECTED = STYLES

# Errors and agreements of all seeds, by network, number of neurons (0: rate network) and rank.
Values = Mapping[tuple[str, int, int], tuple[list[float], list[float]]]


def gathered(rows: list) -> Values:
    """Errors and agreements of all seeds, by network, size and rank."""
    values: dict = {}
    for _, *case, error, agree in rows:
        errors, agreements = values.setdefault(tuple(case), ([], []))
        errors.append(error)
        agreements.append(agree)
    return values


def print_table(values: Values) -> None:
    for (name, size, rank), (error, agree) in values.items():
        neurons = f"N = {size}" if size else "a rate network"
        text = f"error {mean(error)}, agreement {mean(agree)}"
        print(f"{name}, {neurons}, rank {rank}: {text}")


def mean(values: Sequence[float]) -> str:
    """With the standard error over seeds."""
    spread = np.std(values, ddof=1) if len(values) > 1 else np.nan
    return f"{np.mean(values):.3f} +- {spread / np.sqrt(len(values)):.3f}"


def titles(size: int) -> dict[str, str]:
    return {
        "A": f"One trial, $N$ = {size} spiking neurons",
        "B": "Error, converted and trained on",
        "C": "The same in decisions",
        "D": "Dense weights cut to a lower rank",
    }


def draw(
    axes: Mapping[str, Axes], values: Values, trial: dict[str, jax.Array], size: int
) -> None:
    draw_trial(axes["A"], trial)
    draw_sizes(axes["B"], values, 0)
    draw_sizes(axes["C"], values, 1)
    draw_ranks(axes["D"], values, size)
    axes["B"].set(yscale="log", ylabel="error of the report (s.d. of the sum)")
    set_error_ticks(axes["B"])
    axes["C"].set(ylabel="decisions that agree with the sum", ylim=(0.4, 1.02))
    axes["C"].legend(loc="lower right", ncols=2, columnspacing=1, handlelength=1.5)


def draw_trial(ax: Axes, trial: dict[str, jax.Array]) -> None:
    ends = np.asarray(trial["sum"])[:, -1, 0]
    chosen = np.argsort(ends)[len(ends) * 9 // 10]
    curves = {
        "sum": ("sum of the evidence (grey: it comes in)", "black", "--"),
        "RNN": ("RNN", "black", ":"),
        PAIRS: ("spikes, converted (pairs)", STYLES[PAIRS][0], "-"),
        EXPECTED: ("spikes, trained on (expected loss)", STYLES[EXPECTED][0], "-"),
    }
    times = 1e3 * np.asarray(GRID.times[1:])
    for name, (label, color, line) in curves.items():
        trace = np.asarray(trial[name])[chosen, :, 0]
        ax.plot(times, trace, line, color=color, label=label)
    ax.axvspan(1e3 * BEGIN * GRID.dt, 1e3 * END * GRID.dt, color="0.93", zorder=0)
    ax.margins(x=0.01)
    low, high = ax.get_ylim()
    ax.set(xlabel="time (ms)", ylabel="report", ylim=(low, high + 0.35 * (high - low)))
    ax.legend(loc="upper left")


def draw_sizes(ax: Axes, values: Values, which: int) -> None:
    """Over N, with standard errors over seeds; rate networks at the right."""
    sizes = sorted({size for name, size, _ in values if name == EXPECTED})
    limit = 4 * sizes[-1]
    for name, (color, marker, line) in STYLES.items():
        seeds = [np.array(values[name, size, 1][which]) for size in sizes]
        means = [each.mean() for each in seeds]
        spreads = [each.std(ddof=len(each) > 1) / np.sqrt(len(each)) for each in seeds]
        style: dict[str, Any] = dict(color=color, marker=marker, markersize=5)
        ax.errorbar(sizes, means, spreads, capsize=2, label=name, ls=line, **style)
        if (name, 0, 1) in values:
            mean = np.mean(values[name, 0, 1][which])
            ax.plot(limit, mean, fillstyle="none", **style)
    level = float(np.mean(values["RNN", 0, 1][which]))
    ax.axhline(level, color="black", linestyle=":", label="RNN")
    ax.set_xscale("log")
    ax.set_xticks([*sizes, limit], [*map(str, sizes), "∞ (rate)"])
    ax.minorticks_off()
    ax.set_xlabel("spiking neurons $N$")


def draw_ranks(ax: Axes, values: Values, size: int) -> None:
    curves = {
        ("dense, weights cut off", 0): ("weights cut off (Frobenius)", "0.6", "--"),
        ("dense", size): (f"report, {size} spiking neurons", STYLES[PAIRS][0], "s-"),
        ("dense", 0): ("report, generalised rate", "#56B4E9", "o-"),
    }
    ranks = [rank for name, number, rank in values if (name, number) == ("dense", 0)]
    for (name, number), (label, color, style) in curves.items():
        means = [float(np.mean(values[name, number, rank][0])) for rank in ranks]
        shown = [mean if mean > 1e-3 else np.nan for mean in means]  # nothing cut off
        ax.plot(ranks, shown, style, color=color, markersize=4, label=label)
    level = float(np.mean(values["dense RNN", 0, UNITS][0]))
    ax.axhline(level, color="black", linestyle=":", label="dense RNN")
    ax.set(xscale="log", yscale="log", xlabel="rank of the weights", ylabel="error")
    ax.set_xticks(ranks, [str(rank) for rank in ranks])
    ax.minorticks_off()
    set_error_ticks(ax)
    ax.legend(loc="upper right")


def set_error_ticks(ax: Axes) -> None:
    ax.set_ylim(0.07, 1.4)
    ax.set_yticks([0.1, 0.2, 0.5, 1.0], ["0.1", "0.2", "0.5", "1"])
    ax.minorticks_off()
