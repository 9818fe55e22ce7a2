"""Branches of stationary states over a parameter."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from ratelike import _validation as validation
from ratelike._analysis._continuation import Branch
from ratelike.plot._style import drawing_on, line_colors

MARKERS = {"saddle-node": "o", "branch point": "s", "flip": "^", "Hopf": "D"}


def bifurcation(
    branches: Branch | Mapping[str, Branch],
    *,
    latent: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """A signal of feedback against the parameter, for one or several branches of `rl.analysis.continuation`.

    Solid where the state is stable, dashed where it is not; bifurcations are marked by what they are.

    Raises `ValueError` for no branches, and for a latent that a branch does not have.
    """
    if isinstance(branches, Branch):
        branches = {"": branches}
    validation.instance("branches", branches, Mapping)
    if not branches:
        raise ValueError("branches must name at least one branch, got none")
    latent = validation.count("latent", latent, at_least=0)
    colors, marked = line_colors(list(branches)), set()
    with drawing_on(ax) as ax:
        for (name, branch), color in zip(branches.items(), colors, strict=True):
            validation.instance(f"branches[{name!r}]", branch, Branch)
            if latent >= branch.feedback.shape[1]:
                raise ValueError(
                    f"latent must be one of the {branch.feedback.shape[1]} of feedback, got {latent}"
                )
            level = branch.feedback[:, latent]
            for is_stable in (True, False):
                # A piece between two points is drawn as the first of them is.
                among = branch.is_stable == is_stable
                among = among | np.concatenate([[False], among[:-1]])
                shown = np.where(among, level, np.nan)
                label = name if name and is_stable else None
                style = "-" if is_stable else "--"
                ax.plot(branch.values, shown, style, color=color, label=label)
            for one in branch.bifurcations:
                label = None if one.kind in marked else one.kind
                marked.add(one.kind)
                marker, at = MARKERS[one.kind], one.feedback[latent]
                ax.plot(one.value, at, marker, color=color, label=label)
        ax.set_xlabel("parameter")
        ax.set_ylabel(f"signal of feedback {latent}")
        if marked or any(branches):
            ax.legend(loc="best")
    return ax
