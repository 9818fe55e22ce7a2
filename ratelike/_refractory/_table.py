"""A refractory kernel given as a table."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._refractory._base import AbstractRefractory, checked_span
from ratelike._types import Numbers


class TableRefractory(AbstractRefractory):
    r"""eta(k age_step) = values[k], linear in between, constant beyond; no spike while a < dead_time.

    For a kernel that was measured or fitted. `values` (units of the potential) is an array over ages, beginning at age
    0, or (ages, neurons) for a table of its own per neuron; `age_step` and `dead_time` are in seconds, and `dead_time`
    may be one value per neuron. The dead time has to be a multiple of the time step of the simulation, the age step
    need not. The memory is the length of the table, or the dead time where that is longer.

    Each entry is a parameter of its own, a scalar or one value per neuron, and `values` is kept as a tuple of them: an
    array over ages could be mistaken for one over neurons. Hundreds of entries are fine; much longer tables make
    compiling slow. `age_step` and the number of entries are static.

    Raises `ValueError` unless `values` holds one or more finite entries, `age_step` > 0 and `dead_time` >= 0.
    """

    values: tuple[Float[Array, "*#neurons"], ...]  # potential
    dead_time: Float[Array, "*#neurons"]  # s
    age_step: float = eqx.field(static=True)  # s
    memory: float = eqx.field(static=True)  # s
    shortest_dead_time: float = eqx.field(static=True)  # s

    def __init__(
        self,
        values: Numbers,
        age_step: float,
        dead_time: Numbers = 0.0,
    ) -> None:
        owner = "TableRefractory."
        table = validation.parameter(owner + "values", values)
        if table.ndim not in (1, 2):
            raise ValueError(
                f"{owner}values must have shape (ages,) or (ages, neurons), got shape {table.shape}"
            )
        # As concrete as the table is, also where something else is traced.
        if validation.is_concrete(table):
            with jax.ensure_compile_time_eval():
                self.values = tuple(table)
        else:
            self.values = tuple(table)
        self.age_step = validation.number(owner + "age_step", age_step, above=0.0)
        memory = (len(self.values) - 1) * self.age_step
        validation.parameter(owner + "dead_time", dead_time, at_least=0.0)
        if validation.is_concrete(dead_time):
            memory = max(memory, float(np.max(np.asarray(dead_time, dtype=float))))
        self.dead_time, self.shortest_dead_time, self.memory = checked_span(
            "TableRefractory", dead_time, memory
        )

    def __call__(self, age: Float[Array, "..."]) -> Float[Array, "..."]:
        table = jnp.stack(jnp.broadcast_arrays(*self.values))
        oldest = len(self.values) - 1
        position = jnp.clip(age / self.age_step, 0.0, oldest)
        below = jnp.floor(position)
        index = below.astype(jnp.int32)
        lower = _at_age(table, index)
        upper = _at_age(table, jnp.minimum(index + 1, oldest))
        return lower + (position - below) * (upper - lower)


def _at_age(table: Float[Array, "ages *neurons"], index: Array) -> Float[Array, "..."]:
    """Entry `index` of each neuron's own table where there are several; `index` broadcasts against neurons."""
    if table.ndim == 1:
        return table[index]
    return table[index, jnp.arange(table.shape[1])]
