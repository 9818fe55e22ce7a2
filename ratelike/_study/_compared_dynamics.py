"""Which dynamics a study compares."""

import equinox as eqx

from ratelike import _validation as validation
from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._conventional import ConventionalRate
from ratelike._dynamics._generalised import GeneralisedRate
from ratelike._dynamics._spiking import Spiking


class ComparedDynamics(eqx.Module):
    """The spiking network of a trial, and the two rate networks of the same connectivity that it is compared with.

        rl.convergence(..., dynamics=ComparedDynamics(generalised=rl.GeneralisedRate(rl.AgeShift(mesh))))

    Raises `ValueError` unless each is an instance of a dynamics.
    """

    generalised: AbstractDynamics = eqx.field(default_factory=GeneralisedRate)
    conventional: AbstractDynamics = eqx.field(default_factory=ConventionalRate)
    spiking: AbstractDynamics = eqx.field(default_factory=Spiking)

    def __check_init__(self) -> None:
        for name in ("generalised", "conventional", "spiking"):
            kind = getattr(self, name)
            validation.instance(f"ComparedDynamics.{name}", kind, AbstractDynamics)

    @property
    def all_three(self) -> tuple[AbstractDynamics, AbstractDynamics, AbstractDynamics]:
        """Spiking, generalised, conventional."""
        return self.spiking, self.generalised, self.conventional
