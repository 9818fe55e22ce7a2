"""Layers of named populations with connections from one to another."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._network import Layer
from ratelike._network._connection import Connection, Neurons
from ratelike._network._feedback import Feedback
from ratelike._network._neurons_together import neurons_together
from ratelike._network._parts import ranges
from ratelike._signal._synapse import AbstractSynapse, SynapseLike, as_synapse
from ratelike._types import Numbers

Rows: TypeAlias = dict[str, range]  # of each population


def population_layer(
    populations: Mapping[str, Neurons],
    connections: Sequence[Connection] = (),
    *,
    input: Mapping[str, Numbers] | None = None,
    output: Mapping[str, Numbers] | None = None,
    input_synapse: SynapseLike | None = None,
) -> Layer:
    r"""A layer of named populations, which lie in it one after the other.

        layer = rl.population_layer(
            {"exc": rl.Neurons(neuron, 800, bias=1.0, sign=+1), "inh": rl.Neurons(fast, 200, sign=-1)},
            [
                rl.Connection("exc", "inh", 1.0, 0.05, delay=1e-3),
                rl.Connection("inh", "exc", encoder, decoder, delay=2e-3),  # arrays (800, 3) and (200, 3)
            ],
            input={"exc": rows},  # an array (800, latents)
        )
        run = rl.simulate(rl.Network([layer]), increments, grid, rl.Spiking(), key=key,
                          record={0: [*layer.populations["exc"][:50], *layer.populations["inh"][:20]]})
        run.population_rates[0]["inh"], run.recorded("inh").activity, rl.plot.raster(run, 0)

    `input` has the encoders of external latents, the same for all populations: an array (neurons, latents) for each, or a
    number for one latent; populations that are not named do not hear them. Without `input` nothing comes in:
    `simulate(network, None, ...)`. `output` has decoders in the same way, of means over each population, which add up. By
    default there is one output for each population, its rate in hertz as the output membrane sees it.

    *Neurons.* Where populations differ in nothing but parameters, they are one neuron with an array for each of these;
    else a `Mixture`.

    *Cost.* The weights are of low rank, and no matrix of neurons by neurons is ever formed. Connections of equal delay
    and synapse are one `Feedback`, of as many latents as all have together (those of one source that share a decoder have theirs in
    common), with zeros in the rows of other populations: a step costs N times the latents of all connections.

    Raises `ValueError`, which names the population or connection, for names that are not there, shapes that do not fit,
    and weights that do not have the sign of their source.
    """
    _check(populations, connections)
    sizes = {name: each.number for name, each in populations.items()}
    rows = ranges(tuple(sizes.items()))
    if output is None:
        output = {
            name: np.eye(len(populations))[[index]]
            for index, name in enumerate(populations)
        }
        output = {name: np.repeat(row, sizes[name], 0) for name, row in output.items()}
    decoder = _external("output", output, rows, is_mean=True)
    encoder = None if input is None else _external("input", input, rows, is_mean=False)
    biases = [jnp.broadcast_to(each.bias, each.number) for each in populations.values()]
    return Layer(
        neurons_together(populations),
        encoder,
        decoder,
        jnp.concatenate(biases),
        _feedbacks(populations, connections, rows),
        synapse=input_synapse,
        populations=sizes,
    )


def _check(populations: Any, connections: Any) -> None:
    """Kinds, and names that are there."""
    validation.instance("populations", populations, Mapping)
    if not populations:
        raise ValueError("populations must name at least one population, got none")
    for name, each in populations.items():
        validation.instance("each name in populations", name, str)
        validation.instance(f"populations[{name!r}]", each, Neurons)
    validation.instance("connections", connections, Sequence)
    for index, each in enumerate(connections):
        validation.instance(f"connections[{index}]", each, Connection)
        for end in ("source", "target"):
            if getattr(each, end) not in populations:
                raise ValueError(
                    f"connections[{index}].{end} must be one of the populations {list(populations)}, "
                    f"got {getattr(each, end)!r}"
                )


def _external(
    name: str, given: Any, rows: Rows, *, is_mean: bool
) -> Float[Array, "neurons latents"]:
    """Rows of all neurons, zeros for populations that are not named; for `is_mean`, so that each decodes its own mean."""
    validation.instance(name, given, Mapping)
    if not given:
        raise ValueError(f"{name} must name at least one population, got none")
    total = sum(map(len, rows.values()))
    arrays: dict[str, Array] = {}
    for population, value in given.items():
        if population not in rows:
            raise ValueError(
                f"{name} must name some of the populations {list(rows)}, got {population!r}"
            )
        number = len(rows[population])
        own_name = f"{name}[{population!r}]"
        array = validation.parameter(own_name, value)
        if array.ndim == 0:
            array = jnp.broadcast_to(array, (number, 1))
        latents = next(iter(arrays.values())).shape[1] if arrays else "latents"
        validation.shape(own_name, array, (number, latents))
        arrays[population] = array * (total / number) if is_mean else array
    return sum(_padded(each, rows[name], total) for name, each in arrays.items())  # pyright: ignore[reportReturnType]


def _padded(
    array: Float[Array, "members latents"], members: range, total: int
) -> Float[Array, "neurons latents"]:
    """Rows of a population among those of all, which are zero."""
    return jnp.pad(array, [(members.start, total - members.stop), (0, 0)])


def _feedbacks(
    populations: Mapping[str, Neurons], connections: Sequence[Connection], rows: Rows
) -> list[Feedback] | None:
    """One for all connections that differ in nothing but populations and weights."""
    total = sum(map(len, rows.values()))
    kinds: list[_Kind] = []
    for index, each in enumerate(connections):
        name = f"connections[{index}]"
        encoder, decoder = _weights(name, each, rows)
        _check_sign(name, each, populations[each.source].sign, encoder, decoder)
        synapse = as_synapse(f"{name}.synapse", each.synapse, encoder.shape[1])
        own = _Kind(each.delay, each.self_connection, synapse, [])
        kind = next((kind for kind in kinds if kind.is_that_of(own)), None)
        if kind is None:
            kinds.append(kind := own)
        encoder = _padded(encoder, rows[each.target], total)
        kind.add(each.source, encoder, decoder)
    return [kind.feedback(rows, total) for kind in kinds] or None


class _Kind(NamedTuple):
    """Connections that are one feedback: the latents of each source, with encoders of all neurons."""

    delay: float | None
    self_connection: bool
    synapse: AbstractSynapse | None
    latents: list[tuple[str, Array, Array]]  # source, encoder, decoder

    def is_that_of(self, other: "_Kind") -> bool:
        if self[:2] != other[:2]:
            return False
        synapses = self.synapse, other.synapse
        if any(each is not None and each.num_latents is not None for each in synapses):
            return False  # its numbers are for the latents of one connection
        same = synapses[0] is synapses[1]
        return same or (
            validation.is_concrete(synapses) and bool(eqx.tree_equal(*synapses))
        )

    def add(self, source: str, encoder: Array, decoder: Array) -> None:
        """With the latents of a connection from the same source that has the same decoder, or with its own."""
        for number, (of, before, own) in enumerate(self.latents):
            if of == source and _same(own, decoder):
                self.latents[number] = (source, before + encoder, own)
                return
        self.latents.append((source, encoder, decoder))

    def feedback(self, rows: Rows, total: int) -> Feedback:
        decoders = [
            # A mean over the source, of what is decoded as a mean over all.
            _padded(decoder * (total / len(rows[source])), rows[source], total)
            for source, _, decoder in self.latents
        ]
        encoder = jnp.concatenate([encoder for _, encoder, _ in self.latents], 1)
        return Feedback(
            encoder,
            jnp.concatenate(decoders, 1),
            self.delay,
            self.self_connection,
            synapse=self.synapse,
        )


def _weights(
    name: str, connection: Connection, rows: Rows
) -> tuple[Float[Array, "targets latents"], Float[Array, "sources latents"]]:
    """Encoder and decoder as arrays."""
    encoder, decoder = connection.encoder, connection.decoder
    latents = next((each.shape[1] for each in (encoder, decoder) if each.ndim == 2), 1)
    targets, sources = (
        len(rows[each]) for each in (connection.target, connection.source)
    )

    def checked(end: str, array: Array, number: int) -> Array:
        if array.ndim == 0:
            return jnp.broadcast_to(array, (number, latents))
        validation.shape(f"{name}.{end}", array, (number, latents))
        return array

    return checked("encoder", encoder, targets), checked("decoder", decoder, sources)


def _check_sign(
    name: str,
    connection: Connection,
    sign: int | None,
    encoder: Float[Array, "targets latents"],
    decoder: Float[Array, "sources latents"],
) -> None:
    """Dale's law, in each latent, of weights that can be looked at."""
    if sign is None or not validation.is_concrete((encoder, decoder)):
        return
    ends = [(np.min(each, axis=0), np.max(each, axis=0)) for each in (encoder, decoder)]
    products = np.ravel([sign * low * high for low in ends[0] for high in ends[1]])
    if products.min() < 0.0:
        rule = "at least 0" if sign > 0 else "at most 0"
        raise ValueError(
            f"{name} must have encoder times decoder {rule} in every latent, as populations[{connection.source!r}].sign = "
            f"{sign:+d} says, got {sign * products.min():g}"
        )


def _same(first: Array, second: Array) -> bool:
    if first is second:
        return True
    if first.shape != second.shape or not validation.is_concrete((first, second)):
        return False
    return bool(np.array_equal(first, second))
