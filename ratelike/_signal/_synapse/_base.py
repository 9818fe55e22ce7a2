"""What every synapse is: a linear map of a path to a path."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jax.typing import DTypeLike
from jaxtyping import Array, Complex, Float

from ratelike._types import PyTree


class AbstractSynapse(eqx.Module):
    """A linear, causal filter of each latent by itself, of area one: a constant signal passes unchanged.

    Its arrays are numbers, the same for all latents, or have one entry for each latent on their last axis. Axes of the
    increments between time and latents are of signals that are filtered side by side.
    """

    @property
    @abc.abstractmethod
    def num_latents(self) -> int | None:
        """For how many latents it is made; None: it filters any number alike."""

    @abc.abstractmethod
    def check(self, name: str, dt: float) -> None:
        """Raises `ValueError` if the synapse (called `name`) cannot be run in steps of `dt` seconds."""

    @abc.abstractmethod
    def initial(self, shape: tuple[int, ...], dtype: DTypeLike, dt: float) -> PyTree:
        """The state before anything came in; `shape` is that of one step of the increments."""

    @abc.abstractmethod
    def settled(self, signal: Float[Array, "*shape"], dt: float) -> PyTree:
        """The state after a constant signal dX/dt for a long time."""

    @abc.abstractmethod
    def __call__(
        self, state: PyTree, increments: Float[Array, "time *shape"], dt: float
    ) -> tuple[PyTree, Float[Array, "time *shape"]]:
        """The state after a stretch of steps, and the increments that go out in them.

        The signal that comes in, dX/dt, is constant within each step; what goes out is the integral of the filtered signal
        over each step. However a run is cut into stretches, its results are the same.
        """

    @abc.abstractmethod
    def transfer(
        self, angular_frequency: Float[Array, " frequencies"]
    ) -> Complex[Array, "frequencies *#latents"]:
        """The Fourier transform of the kernel, int k(s) exp(-i w s) ds, at frequencies w in 1/s."""


def map_apart(
    of_neurons: Callable[[Array], Any],
    of_synapse: Callable[[AbstractSynapse], Any],
    tree: PyTree,
) -> PyTree:
    """A layer with its arrays over neurons changed in one way, and its synapses, which are of latents, in another."""

    def change(node: Array | AbstractSynapse) -> Any:
        is_synapse = isinstance(node, AbstractSynapse)
        return of_synapse(node) if is_synapse else of_neurons(node)

    return jax.tree.map(
        change, tree, is_leaf=lambda node: isinstance(node, AbstractSynapse)
    )
