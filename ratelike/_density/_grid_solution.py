"""The solution of a problem on the grid by diffrax, and what is kept of it."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ratelike._density import _reverse as reverse
from ratelike._density._age_shift import AgeShift
from ratelike._density._density_piece import state_after
from ratelike._density._grid_steps import GridSteps
from ratelike._density._renewal_problem import (
    RenewalProblem,
    initial_state,
    refractory_density,
)
from ratelike._density._renewal_term import RenewalTerm
from ratelike._density._scheme import (
    Solution,
    SolveOptions,
    diffeqsolve,
)
from ratelike._density._state import GridState, RefractoryDensity, Scalar
from ratelike._population._population import Decoded
from ratelike._types import PyTree


def solve_blocks(
    solver: AgeShift,
    options: SolveOptions,
    problem: RenewalProblem,
    own: PyTree[diffrax.SubSaveAt],
) -> Solution:
    num_blocks, block = problem.path.shape[:2]
    times = np.arange(num_blocks + 1) * block * problem.dt
    controller = GridSteps(jnp.asarray(times, problem.population.bias.dtype))
    # The states at the beginning of all blocks, and those of the steps of one block: some sqrt(steps) of each.
    checkpoints = num_blocks if options.saveat is None else None
    return diffeqsolve(
        RenewalTerm(),
        solver,
        options,
        controller,
        (controller.times[0], controller.end),
        None,
        initial_state(problem),
        problem,
        own=own,
        density_of=_density_of,
        adjoint=diffrax.RecursiveCheckpointAdjoint(checkpoints),
        max_steps=num_blocks,
    )


def solve_with_ends(
    solver: AgeShift,
    options: SolveOptions,
    every: int,
    problem: RenewalProblem,
    with_ends: bool,
) -> tuple[Decoded, PyTree, Bool[Array, ""]]:
    """With the states between `every` so many blocks, if asked for."""
    ends = diffrax.SubSaveAt(t0=True, steps=every, fn=reverse.ends_of)
    own = READOUT, (ends if with_ends else None)
    ((decoded, _), ends), _, reached_end = solve_blocks(solver, options, problem, own)
    return decoded, ends, reached_end


def _readout(
    t: Scalar, y: GridState, args: RenewalProblem
) -> tuple[
    Decoded,
    tuple[Float[Array, "block recorded"], Float[Array, "block recorded"]] | None,
]:
    """All that is kept of a block: the decoded activity, and the recorded neurons."""
    output = y.output
    decoded = args.population.decode(output.activity)
    if args.recorded is None:
        return decoded, None
    return decoded, (output.acted, output.activity[:, args.recorded])


def _last(t: Scalar, y: GridState, args: RenewalProblem) -> PyTree:
    return state_after(y)


READOUT = diffrax.SubSaveAt(steps=True, fn=_readout)
LAST = diffrax.SubSaveAt(t1=True, fn=_last)


def _density_of(
    y: GridState | RefractoryDensity, args: RenewalProblem
) -> RefractoryDensity:
    """Of the state after a step; between steps the solver interpolates densities already."""
    return y if isinstance(y, RefractoryDensity) else refractory_density(y, args)


def no_later(times: PyTree, end: float) -> PyTree:
    return jax.tree.map(lambda t: jnp.minimum(t, end), times)
