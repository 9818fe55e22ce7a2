"""Spikes as one bit for each neuron and step: nothing can overflow, and 10^5 neurons for 20000 steps are 250 MB."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer, UInt

from ratelike._signal._grid import TimeGrid

BITS = 32  # of a word; a tile of neurons is a whole number of words
# Words that are looked at together: what is unpacked at once stays small beside the words themselves.
WORDS_AT_ONCE = 2**18


class SpikePairs(NamedTuple):
    """A row for each spike, ordered by step and then by place in the record; 8 bytes a spike."""

    steps: Integer[np.ndarray, " spikes"]  # 0 is the first step of the run
    neurons: Integer[np.ndarray, " spikes"]


class SpikeTrains(eqx.Module):
    """The spikes of neurons of one layer: what `simulate(..., record={layer: rl.Spikes()})` keeps.

    Bit number i % 32 of `words[i // 32, n]` says whether neuron `neurons[i]` fired in step n. A neuron fires at most
    once in a step, so that a bit holds all there is to know, and no spike can be lost. `times`, `pairs`, `counts` and
    `activity` read the bits on the host; they take one run, and raise `ValueError` for a batch of them.

    A spike of step n is somewhere between t_n and t_{n+1}: its time is the middle, t_n + dt/2.
    """

    neurons: Integer[Array, "*batch recorded"]
    words: UInt[Array, "*batch words time"]
    grid: TimeGrid

    @property
    def times(self) -> list[Float[np.ndarray, " spikes"]]:
        """The spike times of each neuron in seconds, in the order of `neurons`."""
        words, neurons = self._of_one_run()
        middles = self.grid.times[:-1] + 0.5 * self.grid.dt
        trains = []
        for row in words:
            steps = np.flatnonzero(row)
            trains += [middles[steps[fired]] for fired in _bits(row[steps]).T]
        return trains[: len(neurons)]

    @property
    def pairs(self) -> SpikePairs:
        """(step, neuron) of all spikes."""
        words, neurons = self._of_one_run()
        count = sum(int(np.bitwise_count(row).sum(dtype=int)) for row in words)
        steps, fired = np.empty((2, count), np.int32)
        begin, at_once = 0, max(1, WORDS_AT_ONCE // max(1, len(words)))
        for first in range(0, words.shape[1], at_once):
            part = words[:, first : first + at_once].T
            step, word = np.nonzero(part)
            found, bit = np.nonzero(_bits(part[step, word]))
            here = slice(begin, begin + len(found))
            steps[here] = first + step[found]
            fired[here] = neurons[BITS * word[found] + bit]
            begin = here.stop
        return SpikePairs(steps, fired)

    @property
    def counts(self) -> Integer[np.ndarray, " recorded"]:
        """How often each neuron fired."""
        words, neurons = self._of_one_run()
        each = [_bits(row[row > 0]).sum(axis=0) for row in words]
        return np.concatenate(each)[: len(neurons)]

    @property
    def activity(self) -> Bool[np.ndarray, "time recorded"]:
        """Whether each neuron fired in each step: a byte for each, eight times as much as `words`."""
        words, neurons = self._of_one_run()
        fired = np.zeros((len(neurons), words.shape[1]), bool)
        for i in range(len(neurons)):
            fired[i] = (words[i // BITS] >> (i % BITS)) & 1
        return fired.T

    def _of_one_run(
        self,
    ) -> tuple[UInt[np.ndarray, "words time"], Integer[np.ndarray, " recorded"]]:
        if np.ndim(self.words) != 2:
            raise ValueError(
                f"spikes must be those of one run, got a batch with words of shape {np.shape(self.words)}; "
                "take one by jax.tree.map(lambda leaf: leaf[i], spikes)"
            )
        return np.asarray(self.words), np.asarray(self.neurons)


def _bits(words: UInt[np.ndarray, " words"]) -> Bool[np.ndarray, "words bits"]:
    return ((words[:, None] >> np.arange(BITS, dtype=np.uint32)) & 1).astype(bool)


def packed(activity: Float[Array, "time neurons"]) -> UInt[Array, "time words"]:
    """The bits of spikes that are 0 or 1; the last word is filled up with zeros."""
    steps, count = activity.shape
    fired = jax.lax.stop_gradient(activity).astype(jnp.uint32)
    fired = jnp.pad(fired, [(0, 0), (0, -count % BITS)])
    fired = fired.reshape(steps, (count + BITS - 1) // BITS, BITS)
    places = jnp.arange(BITS, dtype=jnp.uint32)
    return jnp.sum(fired << places[None, None], axis=-1, dtype=jnp.uint32)


def of_neurons(
    words: UInt[Array, "words time"], neurons: Integer[Array, " recorded"]
) -> UInt[Array, "chosen_words time"]:
    """The words of some of the neurons."""

    def of_word(members: Integer[Array, " bits"]) -> UInt[Array, " time"]:
        chosen = words[members // BITS]
        fired = (chosen >> (members % BITS).astype(jnp.uint32)[:, None]) & 1
        # Places beyond the last neuron hold -1, and fire never.
        fired = jnp.where((members >= 0)[:, None], fired, jnp.uint32(0))
        places = jnp.arange(BITS, dtype=jnp.uint32)[:, None]
        return jnp.sum(fired << places, axis=0, dtype=jnp.uint32)

    members = jnp.pad(neurons, (0, -len(neurons) % BITS), constant_values=-1)
    return jax.lax.map(of_word, members.reshape(-1, BITS))


def without_fillers(
    words: UInt[Array, "words time"], num_neurons: int
) -> UInt[Array, "whole_words time"]:
    """The words of the first `num_neurons`; copies of a neuron that fill up the last chunk have fired, too."""
    words = words[: -(-num_neurons // BITS)]
    if num_neurons % BITS == 0:
        return words
    return words.at[-1].set(words[-1] & last_word(num_neurons))


def last_word(num_neurons: int) -> np.uint32:
    """The bits of the last neurons, where these do not fill a word."""
    return np.uint32(2 ** (num_neurons % BITS) - 1)
