"""The modes of a network around a stationary state."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from ratelike import _validation as validation
from ratelike._analysis._characteristic import winding
from ratelike._analysis._fixed_point import (
    FixedPoint,
    check_renewal_layers,
    checked_around,
)
from ratelike._analysis._modes import (
    complex_of,
    kind_of,
    modes_of_layer,
    num_beyond,
    zero_near,
)
from ratelike._analysis._neuron_spectra import checked_layer
from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._conventional import ConventionalRate
from ratelike._dynamics._generalised import GeneralisedRate
from ratelike._network import AbstractLayer, Network
from ratelike._numerics._broadcasting import broadcasts


class Stability(eqx.Module):
    """The modes of the loops of a network that grow fastest, or decay slowest: exp(growth_rates t) cos(2 pi frequencies t).

    `exponents` are log z of each, per step, in the order of growth; conjugates are one mode. Those of one layer after the
    other, all together. Neurons by themselves have further modes, which decay.
    """

    exponents: Complex[Array, " modes"]
    num_growing: int  # zeros of det(1 - loop(z)) beyond the unit circle, by the argument principle
    is_certain: bool  # whether they were counted without doubt, and all of them are among `exponents`
    dt: float = eqx.field(static=True)  # s

    @property
    def growth_rates(self) -> Float[Array, " modes"]:
        """1/s; negative for modes that decay."""
        return jnp.real(self.exponents) / self.dt

    @property
    def frequencies(self) -> Float[Array, " modes"]:
        """Hz; 0 for real modes."""
        return jnp.abs(jnp.imag(self.exponents)) / (2.0 * np.pi * self.dt)

    @property
    def is_stable(self) -> bool:
        return self.num_growing == 0

    @property
    def margin(self) -> Float[Array, ""]:
        """The growth rate of the leading mode, in 1/s: negative where the state is stable; -inf where none was found."""
        return jnp.max(self.growth_rates, initial=-jnp.inf)

    @property
    def kind(self) -> str:
        """What the leading mode would do where it crosses the unit circle: "saddle-node" (z = 1), "flip" (z = -1) or "Hopf"; "none" without one."""
        if len(self.exponents) == 0:
            return "none"
        angle = abs(float(jnp.imag(self.exponents[0])))
        return kind_of(angle, self.exponents.dtype)


@broadcasts
def stability(
    network: Network | AbstractLayer,
    *,
    at: FixedPoint,
    dynamics: AbstractDynamics | None = None,
) -> Stability:
    r"""The leading modes of a network with feedback around its stationary state `at`: zeros of det(1 - loop(z)).

    loop(z) is the gain of what is sent back, once around, a matrix of as many rows as all feedback of a layer has latents;
    where neurons do not send to themselves that is part of it. It is exact on the grid, like `transfer_function`. Zeros
    beyond the unit circle are counted by how often the determinant winds around 0 on it (`num_growing`), and found by
    Newton's method (`optimistix`), together with some of those within. `margin` is differentiable by the implicit
    function theorem: see `stability_margin`, which works within `grad`.

        at = rl.analysis.stationary_state(network, x, dt=1e-3)
        modes = rl.analysis.stability(network, at=at)
        modes.is_stable, modes.growth_rates[0], modes.frequencies[0], modes.kind

    `dynamics` is `GeneralisedRate()`, the limit of spiking neurons, or `ConventionalRate()`.

    *Neuronal Dynamics*, section 14.4 (stability of asynchronous firing).

    Raises `ValueError` for a network without feedback, a state that is none of this network, neurons that remember more
    than their last spike (but for `ConventionalRate`), other dynamics, and arrays that are being traced.
    """
    if not validation.is_concrete((network, at)):
        raise ValueError(
            "stability counts modes, and takes no arrays that are being traced: use stability_margin within grad and jit"
        )
    network, is_static = checked_modes(network, at, dynamics)
    exponents: list[complex] = []
    growing, certain = 0, True
    for layer, potential in zip(network.layers, at.potentials, strict=True):
        if layer.feedback is None:
            continue
        turns = winding(layer, potential, at.dt, is_static)
        found = modes_of_layer(layer, potential, turns, at.dt, is_static)
        exponents.extend(found)
        growing += turns.num_outside
        certain &= turns.is_certain and num_beyond(found) == turns.num_outside
    exponents.sort(key=lambda one: -one.real)
    exponents_of_all = jnp.asarray(exponents, complex_of(network.layers[0]))
    return Stability(exponents_of_all, growing, certain, at.dt)


@broadcasts
def stability_margin(
    network: Network | AbstractLayer,
    *,
    at: FixedPoint,
    mode: Complex[Array, ""],
    dynamics: AbstractDynamics | None = None,
    layer: int = 0,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Growth rate (1/s) and frequency (Hz) of one mode, near log z = `mode` (of `Stability.exponents`), within `grad` and `jit` too.

    The derivatives, by the network and by `at`, are those of the implicit function. Of feedback of layer `layer`.

        def margin(network):
            at = rl.analysis.stationary_state(network, x, dt=1e-3)
            return rl.analysis.stability_margin(network, at=at, mode=modes.exponents[0])[0]

        eqx.filter_grad(margin)(network)

    Raises as `stability` does; where no mode is found, both are NaN.
    """
    network, is_static = checked_modes(network, at, dynamics)
    index = checked_layer(network, layer)
    given, potential = network.layers[index], at.potentials[index]
    exponent, found = zero_near(given, potential, mode, at.dt, is_static)
    exponent = jnp.where(found, exponent, jnp.nan)
    return exponent.real / at.dt, jnp.abs(exponent.imag) / (2.0 * np.pi * at.dt)


def checked_modes(
    network: Network | AbstractLayer,
    at: FixedPoint,
    dynamics: AbstractDynamics | None,
) -> tuple[Network, bool]:
    """The network, and whether its rates are conventional."""
    dynamics = GeneralisedRate() if dynamics is None else dynamics
    is_static = isinstance(dynamics, ConventionalRate)
    if not is_static and not isinstance(dynamics, GeneralisedRate):
        raise ValueError(
            f"dynamics must be GeneralisedRate() or ConventionalRate(), got {validation.shown(dynamics)}"
        )
    network = checked_around(network, at)
    if not is_static:
        check_renewal_layers(network, "the stability of a generalised rate")
    if all(layer.feedback is None for layer in network.layers):
        raise ValueError(
            "network must have feedback for its stability, got layers without: their responses decay"
        )
    return network, is_static
