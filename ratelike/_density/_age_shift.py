"""The exact scheme on the grid: react, then shift along the characteristics of age."""

from collections.abc import Callable
from typing import Any, ClassVar, cast

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PyTree

from ratelike._density._state import RefractoryDensity
from ratelike._membrane import decay_factor, input_factor
from ratelike._network import Layer
from ratelike._renewal import ages, firing_probability, hazard


class RenewalTerm(diffrax.AbstractTerm):
    """The vector field is the hazard rho(t, a) in hertz, the control is time.

    The two do not multiply: `AgeShift` integrates the hazard over a step itself.
    """

    def vf(
        self, t, y: RefractoryDensity, args: "RenewalProblem"
    ) -> Float[Array, "ages neurons"]:
        return hazard(args.layer.neuron, y.potential, args.ages, y.mark)

    def contr(self, t0, t1, **kwargs):
        return t1 - t0

    def prod(self, vf, control):
        raise NotImplementedError(
            "RenewalTerm is solved by ratelike.AgeShift, other solvers take the method of lines"
        )


class RenewalProblem(eqx.Module):
    """What the vector field and the solver need to know: the `args` of the solve."""

    layer: Layer
    ages: Float[Array, "ages 1"]  # s
    age_step: float = eqx.field(static=True)  # s
    increments: Float[Array, "time latents"] | None  # for AgeShift: the incoming path
    decoder: Float[Array, "tiles tile latents+1"]
    recorded: Integer[Array, " recorded"] | None


def initial_density(layer: Layer, num_ages: int) -> RefractoryDensity:
    """All neurons at rest and as if they had never fired: in the last bin."""
    neurons = layer.bias.shape[0]
    empty = jnp.zeros((num_ages, neurons), layer.bias.dtype)
    return RefractoryDensity(
        potential=layer.bias,
        age_distribution=empty.at[-1].set(1.0),
        mark=jax.tree.map(
            lambda mark: jnp.broadcast_to(mark, (num_ages, neurons)),
            layer.neuron.mark(layer.bias),
        ),
        activity=jnp.zeros_like(layer.bias),
    )


def renewal_problem(
    layer: Layer,
    age_step: float,
    increments: Float[Array, "time latents"] | None,
    decoder: Array,
    recorded: Array | None,
) -> RenewalProblem:
    age = ages(layer.neuron, age_step, layer.encoder.dtype)
    return RenewalProblem(layer, age, age_step, increments, decoder, recorded)


class _BetweenSteps(diffrax.AbstractLocalInterpolation):
    """A weighted mean of both ends: exact at the ends, and of probabilities again probabilities."""

    t0: Any  # diffrax declares both as class variables, of any scalar type
    t1: Any
    y0: RefractoryDensity
    y1: RefractoryDensity

    def evaluate(self, t0, t1=None, left=True):
        if t1 is not None:
            raise NotImplementedError("a density is evaluated at one time")
        weight = (t0 - self.t0) / (self.t1 - self.t0)
        return jax.tree.map(
            lambda before, after: ((1.0 - weight) * before + weight * after).astype(
                after.dtype
            ),
            self.y0,
            self.y1,
        )


class AgeShift(diffrax.AbstractSolver):
    r"""Moves the age distribution P_k of each neuron by one step of the grid, with the neuron's own p_k:

        r = sum_k p_k P_k,   P'_0 = r,   P'_{k+1} = (1 - p_k) P_k,   P'_K = (1 - p_{K-1}) P_{K-1} + (1 - p_K) P_K.

    For a given input this is exactly the expectation of the discrete spiking neuron, at any dt; as dt -> 0 it converges
    with order 1 to the refractory-density equation d_t q + d_a q = -rho q. `activity` is r of the last step. The
    distribution is divided by its sum in each step, so that the rounding errors of many steps do not add up.

    *Neuronal Dynamics*, chapter 14; Gerstner, Neural Comput. 12, 43 (2000), for the population equations. Works on the grid only; `GeneralisedRate` sees to that.
    """

    term_structure: ClassVar = RenewalTerm
    interpolation_cls: ClassVar[Callable[..., _BetweenSteps]] = _BetweenSteps

    def order(self, terms):
        return 1

    def init(self, terms, t0, t1, y0, args):
        # The number of the step, which float32 times of a long run do not tell.
        return jnp.zeros((), jnp.int32)

    def step(
        self,
        terms,
        t0,
        t1,
        y0: RefractoryDensity,
        args: RenewalProblem,
        solver_state,
        made_jump,
    ):
        neuron, dt = args.layer.neuron, args.age_step
        probability = firing_probability(terms.vf(t0, y0, args), dt)
        total = jnp.sum(y0.age_distribution, axis=0)
        distribution = y0.age_distribution * (1.0 / total)
        firing = distribution * probability
        activity = jnp.sum(firing, axis=0)
        current = jnp.matmul(
            args.layer.encoder,
            cast(Array, args.increments)[solver_state],
            precision="highest",
        )
        driven = y0.potential - args.layer.bias
        driven = decay_factor(neuron.tau_m, dt) * driven
        driven = driven + input_factor(neuron.tau_m, dt) * current
        # A product, not a difference: it cannot round below zero.
        survivors = distribution * (1.0 - probability)
        y1 = RefractoryDensity(
            potential=args.layer.bias + driven,
            age_distribution=_shift(activity, survivors),
            mark=_shift_mark(neuron.mark(y0.potential), y0.mark, survivors),
            activity=activity,
        )
        dense_info = dict(y0=y0, y1=y1)
        return y1, None, dense_info, solver_state + 1, diffrax.RESULTS.successful

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)


def _shift(
    newborn: Float[Array, " neurons"], survivors: Float[Array, "ages neurons"]
) -> Float[Array, "ages neurons"]:
    """Every bin moves up by one; the last absorbs the one below it."""
    if survivors.shape[0] == 1:
        return newborn[None] + survivors
    oldest = survivors[-2:].sum(axis=0, keepdims=True)
    return jnp.concatenate([newborn[None], survivors[:-2], oldest])


def _shift_mark(
    newborn: PyTree[Float[Array, " neurons"]],
    mark: PyTree[Float[Array, "ages neurons"]],
    survivors: Float[Array, "ages neurons"],
) -> PyTree[Float[Array, "ages neurons"]]:
    """Marks travel with their age; those that meet in the last bin are averaged."""

    def shift(new, old):
        below, last = survivors[-2], survivors[-1]
        share = below / jnp.maximum(below + last, jnp.finfo(below.dtype).tiny)
        merged = share * old[-2] + (1.0 - share) * old[-1]
        return jnp.concatenate([new[None], old[:-2], merged[None]])

    return jax.tree.map(shift, newborn, mark)
