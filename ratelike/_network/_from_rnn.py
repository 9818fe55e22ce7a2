"""A network of spiking neurons from the matrices of a trained rate network."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._network import Layer, Network
from ratelike._network._feedback import Feedback
from ratelike._network._low_rank import low_rank
from ratelike._network._matched_rate import matched_rate
from ratelike._neuron import AbstractNeuronModel, check_neuron, is_homogeneous
from ratelike._types import Numbers


class FromRNN(NamedTuple):
    """What `from_rnn` returns: `network, offset, *errors = from_rnn(...)`."""

    network: Network
    offset: Float[np.ndarray, " outputs"]  # z = outputs - offset; 0 of pairs
    rank_error: float  # |J - what runs| / |J|, Frobenius norms
    rate_error: float  # rms of phi - what runs, per standard deviation of phi
    shift: float  # potential: that of x = 0
    scale: float  # potential per activation


def from_rnn(
    neuron: AbstractNeuronModel,
    recurrent: Numbers,
    input: Numbers,
    output: Numbers,
    bias: Numbers = 0.0,
    *,
    nonlinearity: Callable[[Any], Any],
    activations: Numbers,
    rank: int,
    copies: int = 1,
    pairs: bool = False,
    delay: float | None = None,
) -> FromRNN:
    r"""The recurrent layer of spiking neurons that does what a trained conventional rate network does:

        tau dx/dt = -x + J phi(x) + W u + b,        z = V phi(x),

    with `recurrent` J (units, units), `input` W (units, inputs), `output` V (outputs, units) and `bias` b, a number or
    (units,), as PyTorch keeps them; phi is `nonlinearity`, a function of an array, and tau that of the neuron, `neuron.tau_m`.

    *The mean rate.* The neuron's stationary rate g takes the place of phi, after an affine change of both axes:

        phi(x) ~ (g(shift + scale x) - base) / rate,

    by least squares over `activations`, a sample of the x that the trained units visit (an array of any shape). So the
    potential of a neuron is h = shift + scale x, its weights are scale J / rate, its encoder is scale W, and the base
    goes to the bias and to `offset`. `rate_error` says what is left. With `pairs` each unit is two neurons, driven in
    opposite directions and read out with opposite signs: phi(x) ~ (g(shift + scale x) - g(shift - scale x)) / rate, for
    an odd phi such as tanh, of which it is a better match, without offset.

    *The weights* are those of rank `rank` that are nearest to J (`low_rank`, diagonal included); `rank_error` is what is cut off.
    Each unit (or half of a pair) becomes `copies` neurons of equal weights, so N = units copies, or twice that. The weights
    are divided among them: whatever their number, their expected activity is the same, and spikes scatter as 1 / sqrt(N).

    *What is the same and what is not.* Under `ConventionalRate()` the network is the RNN, to the two errors and of the
    first order in the delay, which is at least a time step. Fixed points of `GeneralisedRate()` are the same, the way
    to them is not, since neurons that have not fired for a while answer more strongly. Outputs are z as a membrane of
    tau_m sees it. A run begins with silence, so that x starts from b - base / rate J 1, and z from -offset. An RNN of
    the form tau dr/dt = -r + phi(J r + W u + b), z = V r, is this one with the input u + tau du/dt.

        converted = rl.from_rnn(rl.SRM0(tau_m=20e-3), J, W, V, b, nonlinearity=np.tanh, activations=x, rank=2, pairs=True)
        run = rl.simulate(converted.network, rl.SignalDrive(u, dt=1e-3), grid, rl.Spiking(), key=key)
        z = run.outputs - converted.offset

    What training on brings back is shown by `examples/studies/trained.py`.

    Mastrogiuseppe and Ostojic, Neuron 99, 609 (2018), for networks of low rank; Eliasmith and Anderson, *Neural
    Engineering* (MIT Press, 2003), for pairs of neurons of opposite encoders.

    Raises `ValueError` for shapes that do not fit each other, numbers that are not finite, a neuron whose parameters
    differ from unit to unit, and a nonlinearity that g cannot follow, or is constant over the activations; and as
    `low_rank` does.
    """
    recurrent, input, output, bias = _checked(recurrent, input, output, bias)
    units = len(recurrent)
    copies = validation.count("copies", copies)
    pairs = validation.flag("pairs", pairs)
    _check_neuron(neuron, units)
    validation.function("nonlinearity", nonlinearity, "an array of activations")
    sample = np.asarray(validation.parameter("activations", activations))
    match = matched_rate(neuron, nonlinearity, sample, pairs)
    factors = low_rank(recurrent, rank, self_connection=True)
    encoder, decoder = np.asarray(factors.encoder), np.asarray(factors.decoder)
    at_rest = encoder @ decoder.sum(axis=0) / units  # J times ones
    rest = match.shift + match.scale * (bias - match.base / match.rate * at_rest)

    def incoming(weights: Float[np.ndarray, "units latents"]) -> Array:
        return _neurons(match.scale * weights, copies, pairs)

    def outgoing(weights: Float[np.ndarray, "units latents"]) -> Array:
        return _neurons((1 + pairs) / match.rate * weights, copies, pairs)

    # Of a pair there is no base, and the bias of the other neuron is the mirror image about the shift.
    biases = match.shift + _neurons((rest - match.shift)[:, None], copies, pairs)[:, 0]
    layer = Layer(
        neuron,
        incoming(input),
        outgoing(units * output.T),
        biases,
        Feedback(incoming(encoder), outgoing(decoder), delay, self_connection=True),
    )
    return FromRNN(
        Network([layer]),
        offset=match.base / match.rate * output.sum(axis=1),
        rank_error=factors.error,
        rate_error=match.error,
        shift=match.shift,
        scale=match.scale,
    )


def _neurons(
    rows: Float[np.ndarray, "units latents"], copies: int, pairs: bool
) -> Float[Array, "neurons latents"]:
    """Rows of the neurons: the copies of a unit side by side, after all units the other halves of pairs."""
    each = np.repeat(rows, copies, axis=0)
    return jnp.asarray(np.concatenate([each, -each]) if pairs else each)


def _checked(
    recurrent: Numbers, input: Numbers, output: Numbers, bias: Numbers
) -> tuple[
    Float[np.ndarray, "units units"],
    Float[np.ndarray, "units inputs"],
    Float[np.ndarray, "outputs units"],
    Float[np.ndarray, " units"],
]:
    """In double precision, of shapes that fit each other."""
    given = dict(recurrent=recurrent, input=input, output=output, bias=bias)
    for name, value in given.items():
        if not validation.is_concrete(value):
            raise ValueError(
                f"{name} must be concrete, got an array that is being traced"
            )
    arrays = {
        name: np.asarray(validation.parameter(name, value), np.float64)
        for name, value in given.items()
    }
    validation.shape("recurrent", arrays["recurrent"], ("units", "units"))
    units = len(arrays["recurrent"])
    validation.shape("recurrent", arrays["recurrent"], (units, units))
    validation.shape("input", arrays["input"], (units, "inputs"))
    validation.shape("output", arrays["output"], ("outputs", units))
    if arrays["bias"].ndim != 0:
        validation.shape("bias", arrays["bias"], (units,))
    bias_of_units = np.broadcast_to(arrays["bias"], (units,))
    return arrays["recurrent"], arrays["input"], arrays["output"], bias_of_units


def _check_neuron(neuron: AbstractNeuronModel, units: int) -> None:
    validation.instance("neuron", neuron, AbstractNeuronModel)
    if not validation.is_concrete(neuron):
        raise ValueError("neuron must be concrete, got one that is being traced")
    check_neuron("neuron", neuron, units)
    if not is_homogeneous(neuron):
        raise ValueError(
            f"neuron must be the same for all units, with scalars for parameters, got {validation.shown(neuron)}"
        )
