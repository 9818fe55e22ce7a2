"""Recurrence: a layer that hears itself."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ratelike import _validation as validation
from ratelike._population._loop import Loop, loop_of
from ratelike._population._recurrence import Recurrence
from ratelike._types import Numbers


class Feedback(eqx.Module):
    r"""Recurrent weights of low rank within a layer, J = E D^T / N, with a delay:

        dI_i[n] += sum_mu E_i,mu (1/N) sum_{j != i} D_j,mu s_j[n - d],      s_j the spikes, or their expected number.

    Like what one layer hands on to the next, the decoded activity is an increment: `encoder` is in units of the
    potential per latent, `decoder` in latents times seconds, both (neurons, latents), of as many latents as the weights
    have rank. J is never formed; what a neuron would send to itself is taken off again, unless `self_connection`.

    `delay` (s, static) is d dt, a multiple of the time step and at least one; by default one step. What is sent in step n
    arrives in step n + d, in the course of which the potential changes. Nothing arrives before the first spikes.

    *Exactness.* For a layer with feedback the generalised rate is no longer an exact expectation at finite N, since
    spikes of different neurons depend on each other: it is the limit N -> infinity, as for a network of layers, and the
    error falls as N^(-1/2) where the rate network is stable.

    *Cost.* The population runs as a whole, in blocks no longer than the delay.

    Schmutz, Brea and Gerstner, Phys. Rev. Lett. 134, 018401 (2025).

    Raises `ValueError` for shapes that do not fit each other, entries that are not finite and `delay` <= 0.
    """

    encoder: Float[Array, "neurons latents"]
    decoder: Float[Array, "neurons latents"]
    delay: float | None = eqx.field(static=True)  # s; None: one step
    self_connection: bool = eqx.field(static=True)

    def __init__(
        self,
        encoder: Numbers,
        decoder: Numbers,
        delay: float | None = None,
        self_connection: bool = False,
    ) -> None:
        self.encoder = validation.parameter("Feedback.encoder", encoder)
        validation.shape("Feedback.encoder", self.encoder, ("neurons", "latents"))
        if 0 in self.encoder.shape:
            raise ValueError(
                f"Feedback.encoder must have at least one neuron and one latent, got shape {self.encoder.shape}"
            )
        self.decoder = validation.parameter("Feedback.decoder", decoder)
        validation.shape("Feedback.decoder", self.decoder, self.encoder.shape)
        if delay is not None:
            delay = validation.number("Feedback.delay", delay, above=0.0)
        self.delay = delay
        if not isinstance(self_connection, (bool, np.bool_)):
            raise ValueError(
                f"Feedback.self_connection must be True or False, got {validation.shown(self_connection)}"
            )
        self.self_connection = bool(self_connection)

    @property
    def num_neurons(self) -> int:
        return self.encoder.shape[-2]

    @property
    def weights(self) -> Float[Array, "neurons neurons"]:
        """J, to neuron i from neuron j: for pictures; nothing computes with it."""
        product = jnp.matmul(self.encoder, self.decoder.T, precision="highest")
        if not self.self_connection:
            product = jnp.where(jnp.eye(len(product), dtype=bool), 0.0, product)
        return product / self.num_neurons

    def loop(
        self,
        exists: Bool[Array, " neurons"] | None = None,
        pool: Float[Array, "tiles tiles"] | None = None,
    ) -> Loop:
        """The same weights, ready to run. A neuron that does not exist sends nothing."""
        decoder = self.decoder
        if exists is not None:
            decoder = jnp.where(exists[:, None], decoder, 0.0)
        return loop_of(
            self.encoder,
            decoder,
            self.delay,
            self_connection=self.self_connection,
            pool=pool,
        )


# What a layer takes.
Feedbacks: TypeAlias = Feedback | tuple[Feedback, ...] | None


def each_feedback(feedback: Feedbacks) -> tuple[Feedback, ...]:
    if feedback is None:
        return ()
    return (feedback,) if isinstance(feedback, Feedback) else feedback


def checked_feedback(
    name: str, feedback: Feedback | Sequence[Feedback] | None, num_neurons: int
) -> Feedbacks:
    """One, several or none, all of them of the neurons of the layer."""
    if isinstance(feedback, Sequence):
        feedback = tuple(feedback)
    for own_name, each in _by_name(name, feedback):
        validation.instance(own_name, each, Feedback)
        if each.num_neurons != num_neurons:
            raise ValueError(
                f"{own_name} must have the {num_neurons} neurons of the layer, got {each.num_neurons}"
            )
    return None if feedback == () else feedback


def recurrence_of(
    feedback: Feedbacks,
    exists: Bool[Array, " neurons"] | None = None,
    pool: Float[Array, "tiles tiles"] | None = None,
) -> Recurrence | None:
    """All feedback of a layer, ready to run: see `Feedback.loop`."""
    if feedback is None:
        return None
    return Recurrence(
        tuple(each.loop(exists, pool) for each in each_feedback(feedback))
    )


def check_feedback(name: str, feedback: Feedbacks, dt: float) -> None:
    """The delay is a multiple of the time step (to one part in 10^4 of a step), and at least one."""
    for own_name, each in _by_name(name, feedback):
        if each.delay is None:
            continue
        steps = each.delay / dt
        if abs(steps - round(steps)) > 1e-4 or round(steps) < 1:
            raise ValueError(
                f"{own_name}.delay must be a multiple of the step dt = {dt:g} s, got {each.delay:g} s"
            )


def _by_name(name: str, feedback: Any) -> list[tuple[str, Any]]:
    """Each with the name by which a message calls it."""
    if feedback is None:
        return []
    if not isinstance(feedback, tuple):
        return [(name, feedback)]
    return [(f"{name}[{index}]", each) for index, each in enumerate(feedback)]
