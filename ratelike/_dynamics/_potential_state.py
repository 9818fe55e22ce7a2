"""The state of neurons that are nothing but their potential, and whether a state is of the kind that a dynamics can take."""

from typing import NamedTuple

from jaxtyping import Array, Float, Integer

from ratelike import _validation as validation
from ratelike._population._layer_state import AbstractLayerState, SettledState
from ratelike._population._recurrence import RecurrentState


class PotentialShared(NamedTuple):
    """What all neurons have in common."""

    step: Integer[Array, ""]  # number of the next step of the run
    under_way: RecurrentState | None  # feedback


class PotentialState(AbstractLayerState):
    """Of conventional rates."""

    # h - b, and b: not their sum, which is rounded.
    neurons: tuple[Float[Array, " neurons"], Float[Array, " neurons"]]
    shared: PotentialShared

    @property
    def potential(self) -> Float[Array, " neurons"]:
        """h."""
        return self.neurons[0] + self.neurons[1]

    def driven(self, bias: Float[Array, " neurons"]) -> Float[Array, " neurons"]:
        """h - b of neurons that have another bias from now on."""
        driven, before = self.neurons
        return driven + (before - bias)


def check_kind(
    name: str,
    state: AbstractLayerState | None,
    kind: type[AbstractLayerState],
    dynamics: str,
) -> None:
    """`state` is that of a run under the dynamics, or one that any of them can take."""
    if not isinstance(state, (kind, SettledState, type(None))):
        raise ValueError(
            f"initial must come from a run under {dynamics}, got {validation.shown(state)} for {name}"
        )
