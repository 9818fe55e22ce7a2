"""Neurons on which all their past spikes act: what stands for them in a simulation of spikes, and in one of rates."""

import abc

import jax
from equinox import AbstractVar
from jaxtyping import Array, Float, PyTree

from ratelike._neuron._base import AbstractNeuron

Mark = PyTree[Float[Array, "..."]]


class AbstractFadingNeuron(AbstractNeuron):
    """A neuron whose mark fades from the spike on. `mark(potential)` is that of a neuron that has never fired."""

    @abc.abstractmethod
    def faded(self, mark: Mark, seconds: Float[Array, "..."] | float) -> Mark:
        """The mark so much later, without a spike in between."""


class AbstractExpectedNeuron(AbstractFadingNeuron):
    """What stands for an accumulating neuron in a refractory density.

    Beside the density it carries *traces* of its own expected activity r, which grow by r in every step and fade by the
    next. A spike takes their values along as its mark.
    """

    @abc.abstractmethod
    def no_trace(self, potential: Float[Array, "..."]) -> Mark:
        """The traces of a neuron that has never fired."""

    @abc.abstractmethod
    def faded_trace(self, trace: Mark, seconds: float) -> Mark:
        """The traces so much later, without activity in between."""

    @abc.abstractmethod
    def mark_of_spike(self, trace: Mark) -> Mark:
        """The mark of a spike, from the traces of the activity before it."""

    @abc.abstractmethod
    def stationary_trace(self, rate: Float[Array, "..."], dt: float) -> Mark:
        """The traces that act in a step, at constant `rate` in hertz."""


class AbstractAccumulatingNeuron(AbstractFadingNeuron):
    """A spiking neuron whose mark sums over all its past spikes, which makes it no renewal process.

    The density over the age since the last spike does not know the mark: a rate needs a *closure*, and `expected` is
    the neuron with that closure. Its error does not vanish with the number of neurons.
    """

    expected: AbstractVar[AbstractExpectedNeuron]

    @abc.abstractmethod
    def with_spike(self, mark: Mark) -> Mark:
        """The mark with one more spike."""


def expected_neuron(neuron: AbstractNeuron) -> AbstractNeuron:
    """The neuron as the rate dynamics see it."""
    if isinstance(neuron, AbstractAccumulatingNeuron):
        return neuron.expected
    return neuron


def faded(
    neuron: AbstractNeuron, mark: Mark, seconds: Float[Array, "..."] | float
) -> Mark:
    """The mark so much later; of a renewal neuron it stays."""
    return (
        neuron.faded(mark, seconds)
        if isinstance(neuron, AbstractFadingNeuron)
        else mark
    )


def mark_of_spike(
    neuron: AbstractNeuron, potential: Float[Array, "..."], mark: Mark, dt: float
) -> Mark:
    """The mark in the step after a spike of a spiking neuron, whose mark was `mark`."""
    if isinstance(neuron, AbstractAccumulatingNeuron):
        return neuron.faded(neuron.with_spike(mark), dt)
    return neuron.mark(potential)


def no_trace(neuron: AbstractNeuron, potential: Float[Array, " neurons"]) -> Mark:
    """The traces of the expected activity that a density begins with; none for a renewal neuron."""
    if isinstance(neuron, AbstractExpectedNeuron):
        return neuron.no_trace(potential)
    return None


def newborn(
    neuron: AbstractNeuron,
    potential: Float[Array, " neurons"],
    trace: Mark,
    activity: Float[Array, " neurons"],
    dt: float,
) -> tuple[Mark, Mark]:
    """The mark, in the next step, of those that fire in a step of expected `activity`, and the traces then."""
    if not isinstance(neuron, AbstractExpectedNeuron):
        return neuron.mark(potential), None
    mark = neuron.faded(neuron.mark_of_spike(trace), dt)
    with_activity = jax.tree.map(lambda z: z + activity, trace)
    return mark, neuron.faded_trace(with_activity, dt)
