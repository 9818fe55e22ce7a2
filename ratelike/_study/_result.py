"""What a convergence study has measured."""

from collections.abc import Callable, Iterable

import equinox as eqx
import numpy as np
from jaxtyping import Real

from ratelike._study._cell import Cell
from ratelike._study._size_curve import SizeCurve


class Convergence(eqx.Module):
    """Error of the spiking network against either rate network, and its firing rate, for each size and trial."""

    generalised: SizeCurve  # errors, in units of the outputs
    conventional: SizeCurve
    rates: SizeCurve  # Hz, mean of the spiking network

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.generalised.sizes

    @classmethod
    def from_cells(cls, cells: Iterable[Cell]) -> "Convergence":
        """All trials of the cells, which may come in any order."""
        cells = sorted(cells, key=lambda cell: (cell.size, cell.first_trial))
        sizes = tuple(dict.fromkeys(cell.size for cell in cells))

        def curve(values: Callable[[Cell], Real[np.ndarray, " trials"]]) -> SizeCurve:
            parts = (
                [values(cell) for cell in cells if cell.size == size] for size in sizes
            )
            return SizeCurve(sizes, tuple(np.concatenate(each) for each in parts))

        return cls(
            generalised=curve(lambda cell: cell.generalised),
            conventional=curve(lambda cell: cell.conventional),
            rates=curve(lambda cell: cell.rates),
        )
