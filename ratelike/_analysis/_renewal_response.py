r"""The linear response of one renewal neuron on the grid, around a constant potential.

With exponents x_k = dt rho_k, survivors S_{k+1} = S_k exp(-x_k) and a perturbation of the potential in proportion to z^n, the
equations of `AgeShift` give the perturbed density in closed form. It conserves mass, so that with the slopes x'_k = dx_k/dh

    r(z) / h(z) = c (S_0 C_0 + ... + S_K C_K) / (S_0 z^-1 + ... + S_K z^-(K+1)),     C_{k+1} = (C_k + x'_k) / z,  C_0 = 0,

where c is the stationary probability to fire in a step; this form is regular at z = 1, where it is dt g'(h). (The last bin, which
absorbs, has terms of its own.) A mark that was left k + 1 steps ago adds its own slope times z^-(k+1) to x'_k.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from ratelike._neuron import AbstractNeuronModel
from ratelike._neuron import _renewal as renewal
from ratelike._neuron._ages import in_seconds, num_ages
from ratelike._neuron._hazards import firing_probability, hazard
from ratelike._types import PyTree


class RenewalResponse(NamedTuple):
    """Of each neuron, at one z."""

    gain: Complex[Array, " neurons"]  # of the activity per step, by the potential
    # 1 - f(z), f being the generating function of the intervals: the spectrum follows from it.
    missing: Complex[Array, " neurons"]
    activity: Float[Array, " neurons"]  # spikes per step


class _Sums(NamedTuple):
    """Before age k."""

    survivor: Float[Array, " neurons"]
    turned: Complex[Array, ""]  # z^-(k+1)
    slope: Complex[Array, " neurons"]  # C_k
    survivors: Float[Array, " neurons"]
    turned_survivors: Complex[Array, " neurons"]
    slopes: Complex[Array, " neurons"]


def renewal_response(
    neuron: AbstractNeuronModel,
    potential: Float[Array, " neurons"],
    exponent: Complex[Array, ""],
    dt: float,
) -> RenewalResponse:
    """At z = exp(`exponent`); z - 1 is computed from the exponent, without cancellation."""
    z, above_one, dtype = jnp.exp(exponent), jnp.expm1(exponent), exponent.dtype
    ages = num_ages(neuron, dt)

    def complex_of(x: Array) -> Array:
        return x.astype(dtype)

    def slopes(k: Array) -> tuple[Array, Array, Array]:
        return _exponents(neuron, potential, in_seconds(neuron, k, dt), dt)

    def next_age(sums: _Sums, k: Array) -> tuple[_Sums, None]:
        x, by_potential, by_mark = slopes(k)
        change = complex_of(by_potential) + complex_of(by_mark) * sums.turned
        survivor = complex_of(sums.survivor)
        after = _Sums(
            sums.survivor * jnp.exp(-x),
            sums.turned / z,
            (sums.slope + change) / z,
            sums.survivors + sums.survivor,
            sums.turned_survivors + survivor * sums.turned,
            sums.slopes + survivor * sums.slope,
        )
        return after, None

    index = jnp.arange(ages, dtype=potential.dtype)
    none = jnp.zeros_like(potential)
    nothing = complex_of(none)
    start = _Sums(none + 1.0, 1.0 / z, nothing, none, nothing, nothing)
    sums, _ = jax.lax.scan(next_age, start, index[:-1])
    x, by_potential, by_mark = slopes(index[-1])
    last = firing_probability(x / dt, dt)
    total = last * sums.survivors + sums.survivor
    activity = last / total
    # z less the chance to stay in the last bin.
    leaving = above_one + complex_of(last)
    safe = jnp.where(leaving == 0.0, 1.0, leaving)
    mark_of_bin = sums.turned * z * complex_of(last) / safe
    change = complex_of(by_potential) + complex_of(by_mark) * mark_of_bin
    survivor = complex_of(sums.survivor)
    of_last = survivor * (
        complex_of(last) * z * sums.slope + complex_of(jnp.exp(-x)) * change
    )
    below = leaving * sums.turned_survivors + survivor * sums.turned * z
    above = leaving * complex_of(activity) * sums.slopes + of_last / complex_of(total)
    return RenewalResponse(above / below, above_one * below / safe, activity)


def static_response(
    neuron: AbstractNeuronModel, potential: Float[Array, " neurons"], dt: float
) -> Float[Array, " neurons"]:
    """dt g'(h): the response of a conventional rate, at every frequency."""

    def rate(h: Array) -> Array:
        return renewal.stationary_rate(neuron, h, dt)

    return dt * jax.jvp(rate, (potential,), (jnp.ones_like(potential),))[1]


def _exponents(
    neuron: AbstractNeuronModel,
    potential: Float[Array, " neurons"],
    age: Float[Array, ""],
    dt: float,
) -> tuple[
    Float[Array, " neurons"], Float[Array, " neurons"], Float[Array, " neurons"]
]:
    """dt rho at an age, its derivative by the potential, and that by the mark of a spike at a changed potential."""
    ones = jnp.ones_like(potential)
    mark, change = jax.jvp(neuron.mark, (potential,), (ones,))

    def by_potential(h: Array) -> Array:
        return jnp.broadcast_to(dt * hazard(neuron, h, age, mark), potential.shape)

    def by_mark(mark: PyTree[Array]) -> Array:
        return jnp.broadcast_to(
            dt * hazard(neuron, potential, age, mark), potential.shape
        )

    x, of_potential = jax.jvp(by_potential, (potential,), (ones,))
    if not jax.tree.leaves(mark):
        return x, of_potential, jnp.zeros_like(x)
    return x, of_potential, jax.jvp(by_mark, (mark,), (change,))[1]
