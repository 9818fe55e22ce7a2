"""A stationary state of a network, around which everything else is analysed."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ratelike import _validation as validation
from ratelike._analysis._self_consistency import Settled, loop_sizes, settled
from ratelike._dynamics._state import State
from ratelike._network import AbstractLayer, Network, check_feedback
from ratelike._network._feedback import recurrence_of
from ratelike._neuron import check_dead_time, check_renewal
from ratelike._numerics._broadcasting import broadcasts
from ratelike._numerics._casting import cast_to
from ratelike._population._layer_state import SettledShared, SettledState

# Largest residual of a state, in parts of 1 + |y|: in float32 and in float64.
TOLERANCE = 1e-4, 1e-8


class FixedPoint(eqx.Module):
    """A stationary state of a network under constant input: of all rate dynamics, since their rates at constant potential agree."""

    input: Float[Array, " latents"]  # signal, in latents
    feedback: Float[Array, " loops"]  # signals of all feedback, one after the other
    potentials: tuple[Float[Array, " _"], ...]  # of each layer
    rates: tuple[Float[Array, " _"], ...]  # Hz
    signals: tuple[Float[Array, " _"], ...]  # that each layer hands on
    residual: Float[Array, ""]  # largest |y - F(y)| / (1 + |y|)
    succeeded: Bool[Array, ""]  # whether the residual is one of rounding
    dt: float = eqx.field(static=True)  # s

    @broadcasts
    def state(self, network: Network) -> State:
        """Of the network at rest in this state, for `simulate(network, ..., initial=)`, with what is under way in its feedback."""
        network, _ = checked(network, self.dt)
        for index, layer in enumerate(network.layers):
            name = f"network.layers[{index}].neuron"
            check_renewal(name, layer.neuron, "a state to begin with")
        network = cast_to(network, network.layers[0].dtype)
        signal, begin, layers, synapses = self.input, 0, [], []
        sizes = loop_sizes(network)
        for index, layer in enumerate(network.layers):
            synapse = layer.synapse
            synapses.append(
                None if synapse is None else synapse.settled(signal, self.dt)
            )
            shared, loops = None, self.feedback[begin : begin + sizes[index]]
            recurrence = recurrence_of(layer.feedback)
            if recurrence is not None:
                activity = self.rates[index] * self.dt
                shared = SettledShared(recurrence.settled(loops, activity, self.dt))
            begin += sizes[index]
            layers.append(SettledState(self.potentials[index], shared))
            signal = self.signals[index]
        step = jnp.zeros((), jnp.int32)
        return State(tuple(layers), tuple(synapses), signal, step, self.dt)


def checked(network: Network | AbstractLayer, dt: float) -> tuple[Network, float]:
    """The network, or that of one layer, with its connections in memory, and a time step on whose grid it runs."""
    if isinstance(network, AbstractLayer):
        network = Network((network,))
    validation.instance("network", network, Network)
    dt = validation.number("dt", dt, above=0.0)
    for index, layer in enumerate(network.layers):
        name = f"network.layers[{index}]"
        check_dead_time(f"{name}.neuron", layer.neuron, dt)
        check_feedback(f"{name}.feedback", layer.feedback, dt)
        if layer.synapse is not None:
            layer.synapse.check(f"{name}.synapse", dt)
    return network.stored(), dt


def tolerance_of(dtype: jnp.dtype) -> float:
    return TOLERANCE[0] if dtype == jnp.float32 else TOLERANCE[1]


def residual_of(feedback: Float[Array, " loops"], after: Settled) -> Float[Array, ""]:
    """Of the latents that come back, and of each neuron without its own share."""
    parts = jnp.abs(after.returned - feedback) / (1.0 + jnp.abs(feedback))
    return jnp.maximum(jnp.max(parts, initial=0.0), after.apart)


def fixed_point_of(
    input: Float[Array, " latents"],
    feedback: Float[Array, " loops"],
    after: Settled,
    dt: float,
) -> FixedPoint:
    residual = residual_of(feedback, after)
    return FixedPoint(
        input,
        feedback,
        after.potentials,
        after.rates,
        after.signals,
        residual,
        residual < tolerance_of(feedback.dtype),
        dt,
    )


@eqx.filter_jit
def _again(network: Network, at: FixedPoint) -> tuple[Settled, Array]:
    after = settled(network, at.input, at.feedback, at.dt)
    return after, residual_of(at.feedback, after)


@broadcasts
def checked_around(network: Network | AbstractLayer, at: FixedPoint) -> Network:
    """The network, of which `at` is a stationary state; within a trace shapes alone can be looked at."""
    validation.instance("at", at, FixedPoint)
    stored, _ = checked(network, at.dt)
    dtype = stored.layers[0].dtype
    stored: Network = cast_to(stored, dtype)
    validation.shape("at.input", at.input, (stored.layers[0].num_latents,))
    validation.shape("at.feedback", at.feedback, (sum(loop_sizes(stored)),))
    if validation.is_concrete((stored, at)):
        after, residual = _again(stored, at)
        apart = max(
            float(jnp.max(jnp.abs(ours - given) / (1.0 + jnp.abs(given))))
            for ours, given in zip(after.potentials, at.potentials, strict=True)
        )
        wrong = max(float(residual), apart)
        if not wrong < 10.0 * tolerance_of(dtype):
            raise ValueError(
                f"at must be a stationary state of the network, got one with a residual of {wrong:.2g}"
            )
    return stored


def check_renewal_layers(network: Network, what: str) -> None:
    """Of neurons with adaptation nothing but the stationary state is known here."""
    for index, layer in enumerate(network.layers):
        check_renewal(f"network.layers[{index}].neuron", layer.neuron, what)
