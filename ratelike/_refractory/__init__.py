"""Refractory kernels: what the last spike adds to the membrane potential, and for how long no spike can follow it."""

from ratelike._refractory._alpha import AlphaRefractory as AlphaRefractory
from ratelike._refractory._base import (
    AbstractRecursiveRefractory as AbstractRecursiveRefractory,
)
from ratelike._refractory._base import AbstractRefractory as AbstractRefractory
from ratelike._refractory._base import at_successive_ages as at_successive_ages
from ratelike._refractory._exponential import (
    ExponentialRefractory as ExponentialRefractory,
)
from ratelike._refractory._none import NoRefractory as NoRefractory
from ratelike._refractory._power_law import PowerLawRefractory as PowerLawRefractory
from ratelike._refractory._sum import SumRefractory as SumRefractory
from ratelike._refractory._table import TableRefractory as TableRefractory
