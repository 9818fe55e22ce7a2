"""What every trial of a study does, whatever its size."""

from collections.abc import Callable

import equinox as eqx
from jax.sharding import Mesh
from jaxtyping import Array, Key

from ratelike import _validation as validation
from ratelike._network import Network
from ratelike._signal._grid import TimeGrid
from ratelike._study._checks import check_drive, check_network
from ratelike._study._compared_dynamics import ComparedDynamics
from ratelike._study._input import MakeDrive, white_noise


class Study(eqx.Module):
    """Makes a network and its input, and runs it on the grid under each of the compared dynamics."""

    make_network: Callable[..., Network] = eqx.field(static=True)  # of a size and a key
    make_drive: MakeDrive = eqx.field(static=True)
    grid: TimeGrid
    dynamics: ComparedDynamics
    mesh: Mesh | None = eqx.field(static=True, default=None)

    def check(self, size: int, key: Key[Array, ""]) -> None:
        """Makes one small network: what is wrong with it is found before anything compiles."""
        network = check_network(
            self.make_network, size, key, self.grid, self.dynamics.all_three
        )
        check_drive(self.make_drive, network, key, self.grid)


def checked_study(
    make_network: Callable[..., Network],
    grid: TimeGrid,
    make_drive: MakeDrive | None,
    dynamics: ComparedDynamics | None,
    mesh: Mesh | None = None,
) -> Study:
    """The study of a verb's arguments."""
    validation.function("make_network", make_network, "the size and a key")
    validation.instance("grid", grid, TimeGrid)
    make_drive = white_noise if make_drive is None else make_drive
    validation.function("make_drive", make_drive, "a network and a key")
    dynamics = ComparedDynamics() if dynamics is None else dynamics
    validation.instance("dynamics", dynamics, ComparedDynamics)
    return Study(make_network, make_drive, grid, dynamics, mesh)
