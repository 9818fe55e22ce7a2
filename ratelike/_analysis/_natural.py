"""Stationary states over a parameter, one value after the other."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ratelike import _validation as validation
from ratelike._analysis._bifurcations import bifurcations_of
from ratelike._analysis._continuation import Branch
from ratelike._analysis._fixed_point import FixedPoint
from ratelike._analysis._stability import stability
from ratelike._analysis._stationary import stationary_state
from ratelike._dynamics._base import AbstractDynamics
from ratelike._network import AbstractLayer, Network
from ratelike._numerics._broadcasting import broadcasts
from ratelike._types import Numbers


@broadcasts
def natural_continuation(
    make_network: Callable[[Any], Network | AbstractLayer],
    values: Sequence[float] | np.ndarray,
    *,
    dt: float,
    input: Numbers = (),
    start: Numbers | FixedPoint | None = None,
    dynamics: AbstractDynamics | None = None,
) -> Branch:
    r"""Stationary states of `make_network(value)` with their stability, each found from the one at the value before.

    For parameters that are on the grid, such as delays and dead times, which `continuation` cannot vary. `make_network` is
    not traced. What is under way sets shapes, so that each delay is compiled for itself. Where a branch folds it ends, or
    goes on as another one; `bifurcations` lie between values, by linear interpolation, as `continuation` names them.

        def make_network(delay):
            return rl.Layer(neuron, None, decoder, 1.0, rl.Feedback(-encoder, decoder, delay))

        branch = rl.analysis.natural_continuation(make_network, [1e-3, 2e-3, 4e-3], dt=1e-3)
        rl.plot.bifurcation(branch)

    Allgower and Georg, Introduction to Numerical Continuation Methods (2003), section 2.1.

    Raises `ValueError` for no values, values that neither rise nor fall, and networks without feedback, and `RuntimeError`
    where no state is found from the one before.
    """
    validation.function("make_network", make_network, "the value of a parameter")
    validation.parameter("values", values)
    # With all of their digits, since grids are fine.
    values = np.asarray(values, float)
    validation.shape("values", values, ("points",))
    steps = np.diff(values)
    if len(values) == 0 or not (np.all(steps > 0.0) or np.all(steps < 0.0)):
        raise ValueError(
            f"values must rise or fall from one to the next, got {validation.shown(values)}"
        )
    states, stabilities = [], []
    for value in values:
        network = make_network(float(value))
        state = stationary_state(network, input, dt=dt, start=start)
        states.append(state)
        stabilities.append(stability(network, at=state, dynamics=dynamics))
        start = state
    found = bifurcations_of(values, states, stabilities)
    return Branch(values, tuple(states), tuple(stabilities), found)
