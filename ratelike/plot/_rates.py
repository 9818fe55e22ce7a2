"""Mean rates of named populations over time."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from ratelike import _validation as validation
from ratelike._dynamics._trajectory import Trajectory
from ratelike.plot._style import COLORS, drawing_on, population_colors
from ratelike.plot._traces import check_trajectory


def rates(
    trajectories: Mapping[str, Trajectory],
    *,
    layer: int = 0,
    populations: Sequence[str] | None = None,
    bin: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Mean rates of named populations of a layer (all of them, or `populations`), in Hz against time in ms.

    A population has its colour, as in `raster`; with only one, each trajectory has, as in `traces`. The first trajectory is
    drawn broad and pale behind the others. Means over `bin` seconds, by default a step, are drawn at the middle of each.

    Raises `ValueError` for no trajectories, a batch of them, a population that one of them does not have, and a bin that
    is not a multiple of its time step.
    """
    validation.instance("trajectories", trajectories, Mapping)
    if not trajectories:
        raise ValueError("trajectories must name at least one trajectory, got none")
    layer = validation.count("layer", layer, at_least=0)
    found = {
        name: _of_populations(f"trajectories[{name!r}]", each, layer, populations)
        for name, each in trajectories.items()
    }
    names = list(dict.fromkeys(name for each in found.values() for name in each))
    of_trajectories = [*COLORS.values(), "#E69F00", "#CC79A7", "#56B4E9", "black"]
    colors = population_colors(next(iter(trajectories.values())).populations[layer])
    with drawing_on(ax) as ax:
        for index, (name, trajectory) in enumerate(trajectories.items()):
            for population, values in found[name].items():
                times, means = _binned(values, trajectory.grid.dt, bin)
                alone = len(names) == 1
                color = of_trajectories[index % 8] if alone else colors[population]
                ax.plot(
                    1e3 * times,
                    means,
                    color=color,
                    linewidth=1.2 if index else 2.6,
                    alpha=1.0 if index or alone else 0.5,
                    label=name if alone else f"{population}, {name}",
                )
        ax.margins(x=0.0)
        ax.set_ylim(bottom=0.0)
        ax.set_xlabel("time (ms)")
        who = f"of {names[0]} " if len(names) == 1 else ""
        ax.set_ylabel(f"mean rate {who}(Hz)")
        above: dict[str, Any] = dict(
            loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2
        )
        ax.legend(**above, ncols=len(names), handlelength=1.4, columnspacing=1.3)
    return ax


def _of_populations(
    name: str, trajectory: Trajectory, layer: int, populations: Sequence[str] | None
) -> dict[str, Float[np.ndarray, " time"]]:
    check_trajectory(name, trajectory)
    of_layers = trajectory.population_rates
    own = of_layers[layer] if layer < len(of_layers) else {}
    chosen = list(own) if populations is None else list(populations)
    missing = [each for each in chosen if each not in own]
    if missing or not chosen:
        raise ValueError(
            f"populations must be some of those that layer {layer} of {name} has, {list(own)}, got {populations!r}"
        )
    return {each: np.asarray(own[each]) for each in chosen}


def _binned(
    values: Float[np.ndarray, " time"], dt: float, bin: float | None
) -> tuple[Float[np.ndarray, " bins"], Float[np.ndarray, " bins"]]:
    """Middles in seconds and means; what does not fill the last bin is left out."""
    width = 1 if bin is None else round(validation.number("bin", bin, above=0.0) / dt)
    if width < 1 or (bin is not None and abs(bin / dt - width) > 1e-4):
        raise ValueError(
            f"bin must be a multiple of the step dt = {dt:g} s, got {bin:g} s"
        )
    number = len(values) // width
    means = values[: number * width].reshape(number, width).mean(axis=1)
    return (np.arange(number) + 0.5) * width * dt, means
