"""Populations by name, and what connects them."""

import equinox as eqx
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._neuron import AbstractNeuronModel
from ratelike._signal._synapse import SynapseLike
from ratelike._types import Numbers


class Neurons(eqx.Module):
    """A population: `number` neurons of one kind, with their `bias` (one for all, or one for each).

    `sign` says what they may send (Dale's law): +1 for excitatory neurons, -1 for inhibitory ones, None for any. It is
    checked of every connection: encoder times decoder must have the sign in every latent.

    Parameters of the neuron are scalars, or one for each neuron of the population.
    """

    neuron: AbstractNeuronModel
    number: int = eqx.field(static=True)
    bias: Float[Array, "*#neurons"]
    sign: int | None = eqx.field(static=True)

    def __init__(
        self,
        neuron: AbstractNeuronModel,
        number: int,
        bias: Numbers = 0.0,
        sign: int | None = None,
    ) -> None:
        validation.instance("Neurons.neuron", neuron, AbstractNeuronModel)
        self.neuron = neuron
        self.number = validation.count("Neurons.number", number)
        self.bias = validation.parameter("Neurons.bias", bias)
        if self.bias.ndim != 0:
            validation.shape("Neurons.bias", self.bias, (self.number,))
        if sign is not None and (isinstance(sign, bool) or sign not in (-1, 1)):
            raise ValueError(
                f"Neurons.sign must be +1, -1 or None, got {validation.shown(sign)}"
            )
        self.sign = None if sign is None else int(sign)


class Connection(eqx.Module):
    r"""Weights from the population `source` to the population `target`, J = E D^T / N, N the number of source neurons.

    `encoder` has a row for each target, `decoder` one for each source, both of as many latents as the weights have rank;
    a number is an entry for all. So what arrives is a mean over the source, and networks of all sizes are alike. Units,
    `delay`, `self_connection` and `synapse` are those of `Feedback`. Given weights: `Connection("exc", "inh", *low_rank(J, 3)[:2])`.
    """

    source: str = eqx.field(static=True)
    target: str = eqx.field(static=True)
    encoder: Float[Array, ""] | Float[Array, "targets latents"]
    decoder: Float[Array, ""] | Float[Array, "sources latents"]
    delay: float | None = eqx.field(static=True)  # s; None: one step
    self_connection: bool = eqx.field(static=True)
    synapse: SynapseLike | None

    def __init__(
        self,
        source: str,
        target: str,
        encoder: Numbers,
        decoder: Numbers,
        delay: float | None = None,
        self_connection: bool = False,
        *,
        synapse: SynapseLike | None = None,
    ) -> None:
        self.source, self.target = source, target
        self.encoder = validation.parameter("Connection.encoder", encoder)
        self.decoder = validation.parameter("Connection.decoder", decoder)
        if delay is not None:
            delay = validation.number("Connection.delay", delay, above=0.0)
        self.delay = delay
        self.self_connection = validation.flag(
            "Connection.self_connection", self_connection
        )
        self.synapse = synapse
