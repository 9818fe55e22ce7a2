"""Analysis of rate networks: what the limit of a spiking network does near its stationary states.

    at = rl.analysis.stationary_state(network, x, dt=1e-3)
"""

from ratelike._analysis._fixed_point import FixedPoint
from ratelike._analysis._stationary import stationary_state, stationary_states

__all__ = ["FixedPoint", "stationary_state", "stationary_states"]
