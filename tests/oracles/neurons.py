"""Every member of the family of neurons, beside its hazard written from the equations in plain NumPy.

`make(scale, dead_time)` multiplies every parameter by `scale`, a number or one per neuron; `hazard(scale, dead_time)`
is that of one neuron, a function of (h, age, mark) with h at the last spike as mark.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import ratelike as rl
from tests.oracles.systems import after_dead_time

DT, NUM_STEPS = 1e-3, 10
MEMORY = 6e-3
# Longer than all steps: marks do not meet in the last bin, and LIF is exact.
LONG_MEMORY = NUM_STEPS * DT
TABLE = np.array([-4.0, -1.0, -2.5, 0.7, 0.2])  # until MEMORY


class SquareEscape(rl.extend.AbstractEscape):
    """A user's own."""

    slope: Array

    def __call__(self, potential):
        return (self.slope * jnp.clip(potential + 3.0, 0.0, 1e3)) ** 2


class LinearRefractory(rl.extend.AbstractRefractory):
    """A user's own."""

    amplitude: Array
    dead_time: Array
    memory: float = eqx.field(static=True)
    shortest_dead_time: float = eqx.field(static=True)

    def __call__(self, age):
        return -self.amplitude * jnp.maximum(1.0 - age / self.memory, 0.0)


class Escape(NamedTuple):
    make: Callable
    rate: Callable  # (u, scale)
    inverse: Callable | None  # (rate, scale)

    def acting(self, scale):
        """The potential of a step from those of both ends: by the inverse of the rate, or by its derivatives."""

        def exactly(start, end):
            mean = 0.5 * (self.rate(start, scale) + self.rate(end, scale))
            return self.inverse(mean, scale)

        def square(start, end):  # f'' / f' = 1 / (u + 3)
            m, d = 0.5 * (start + end), end - start
            return m + d**2 / 8.0 / (m + 3.0)

        return exactly if self.inverse is not None else square


class Kernel(NamedTuple):
    make: Callable
    eta: Callable  # (age, scale), with the age already clamped at the memory


class Type(NamedTuple):
    make: Callable
    hazard: Callable
    memory: float
    escape: str = "exponential"

    def acting(self, scale):
        return ESCAPES[self.escape].acting(scale)


ESCAPES = {
    "exponential": Escape(
        lambda s: rl.ExponentialEscape(60.0 * s, 0.5 * s, 1.2 * s),
        lambda u, s: 60.0 * s * np.exp((u - 0.5 * s) / (1.2 * s)),
        lambda f, s: 0.5 * s + 1.2 * s * np.log(f / (60.0 * s)),
    ),
    "sigmoid": Escape(
        lambda s: rl.SigmoidEscape(400.0 * s, 0.5 * s, 1.2 * s),
        lambda u, s: 400.0 * s / (1.0 + np.exp(-(u - 0.5 * s) / (1.2 * s))),
        lambda f, s: 0.5 * s - 1.2 * s * np.log(400.0 * s / f - 1.0),
    ),
    "softplus": Escape(
        lambda s: rl.SoftplusEscape(100.0 * s, 0.5 * s, 1.2 * s),
        lambda u, s: 100.0 * s * np.log(1.0 + np.exp((u - 0.5 * s) / (1.2 * s))),
        lambda f, s: 0.5 * s + 1.2 * s * np.log(np.expm1(f / (100.0 * s))),
    ),
    "user's": Escape(
        lambda s: SquareEscape(jnp.asarray(4.0 * s)),
        lambda u, s: (4.0 * s * np.maximum(u + 3.0, 0.0)) ** 2,
        None,
    ),
}

KERNELS = {
    "exponential": Kernel(
        lambda s, d: rl.ExponentialRefractory(3.0 * s, 4e-3 * s, d, MEMORY),
        lambda a, s: -3.0 * s * np.exp(-a / (4e-3 * s)),
    ),
    "power law": Kernel(
        lambda s, d: rl.PowerLawRefractory(3.0 * s, 2e-3 * s, 1.5 * s, d, MEMORY),
        lambda a, s: -3.0 * s / (1.0 + a / (2e-3 * s)) ** (1.5 * s),
    ),
    "alpha": Kernel(
        lambda s, d: rl.AlphaRefractory(3.0 * s, 2e-3 * s, d, MEMORY),
        lambda a, s: -3.0 * s * (a / (2e-3 * s)) * np.exp(1.0 - a / (2e-3 * s)),
    ),
    "table": Kernel(  # an age step that is not the time step
        lambda s, d: rl.TableRefractory(
            jnp.asarray(TABLE[:, None] * s if np.ndim(s) else TABLE * s), 1.5e-3, d
        ),
        lambda a, s: s * np.interp(a, 1.5e-3 * np.arange(5), TABLE),
    ),
    "sum": Kernel(
        lambda s, d: rl.SumRefractory(
            [
                rl.ExponentialRefractory(3.0 * s, 1e-3 * s, d, MEMORY),
                rl.AlphaRefractory(-1.0 * s, 2e-3 * s, 0.0, MEMORY / 2),
            ]
        ),
        lambda a, s: (
            -3.0 * s * np.exp(-a / (1e-3 * s))
            + s
            * (min(a, MEMORY / 2) / (2e-3 * s))
            * np.exp(1.0 - min(a, MEMORY / 2) / (2e-3 * s))
        ),
    ),
    "user's": Kernel(
        lambda s, d: LinearRefractory(
            jnp.asarray(3.0 * s), jnp.asarray(d), MEMORY, float(np.min(d))
        ),
        lambda a, s: -3.0 * s * (1.0 - a / MEMORY),
    ),
}


def _srm0(escape: str, kernel: str) -> Type:
    def make(s=1.0, d=1e-3):
        refractory = KERNELS[kernel].make(s, d)
        return rl.SRM0(5e-3 * s, ESCAPES[escape].make(s), refractory)

    def hazard(s, d):
        def rho(h, age, mark):
            u = h + KERNELS[kernel].eta(min(age, MEMORY), s)
            return ESCAPES[escape].rate(u, s) * after_dead_time(age, d, MEMORY)

        return rho

    return Type(make, hazard, MEMORY, escape)


def _memoryless(escape: str) -> Type:
    return Type(
        lambda s=1.0, d=1e-3: rl.SRM0(
            5e-3 * s, ESCAPES[escape].make(s), rl.NoRefractory()
        ),
        lambda s, d: lambda h, age, mark: ESCAPES[escape].rate(h, s),
        0.0,
        escape,
    )


def _lif(escape: str) -> Type:
    def make(s=1.0, d=1e-3):
        return rl.LIF(5e-3 * s, ESCAPES[escape].make(s), -3.0 * s, d, LONG_MEMORY)

    def hazard(s, d):
        def rho(h, age, mark):
            decay = np.exp(-min(age, LONG_MEMORY) / (5e-3 * s))
            u = h + (-3.0 * s - mark) * decay
            return ESCAPES[escape].rate(u, s) * after_dead_time(age, d, LONG_MEMORY)

        return rho

    return Type(make, hazard, LONG_MEMORY, escape)


TYPES = {
    "no kernel": _memoryless("exponential"),
    **{f"{kernel} kernel": _srm0("exponential", kernel) for kernel in KERNELS},
    **{f"{e} escape": _srm0(e, "exponential") for e in ESCAPES if e != "exponential"},
    "LIF": _lif("exponential"),
    "LIF, sigmoid escape": _lif("sigmoid"),
}


def mixture(names, kind, scale=1.0, dead_time=1e-3) -> rl.Mixture:
    return rl.Mixture([TYPES[name].make(scale, dead_time) for name in names], kind)
