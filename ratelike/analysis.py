"""Analysis of rate networks: what the limit of a spiking network does near its stationary states.

    stationary_state   self-consistent rates under constant input
    stationary_states  several of them, from many starts
    FixedPoint         what they return
    transfer_function  complex gain from latents in to latents out, at each frequency
    stability          growth rates and frequencies of the leading modes
    Stability          what it returns
    stability_margin   those of one mode, within `grad`
    continuation       a branch of stationary states over a parameter, with stability and bifurcations
    natural_continuation  the same for delays and dead times, one value after the other
    Branch             what both return
    Bifurcation        where a mode begins to grow, or to decay
    spectrum           power and cross spectra of finitely many spiking neurons, from linear noise
    Spectrum           what it returns
    autocovariance     the same over time
    Autocovariance     what it returns
    neuron_spectra     power spectra of the spikes of each neuron
    fano_factor        variance over mean of the spike counts of each neuron

All of it is exact on the grid of a simulation, per neuron, at the cost of a few steps of the rate network.

    at = rl.analysis.stationary_state(network, x, dt=1e-3)
    modes = rl.analysis.stability(network, at=at)
    gain = rl.analysis.transfer_function(network, frequencies, at=at)
"""

from ratelike._analysis._autocovariance import Autocovariance, autocovariance
from ratelike._analysis._bifurcations import Bifurcation
from ratelike._analysis._continuation import Branch, continuation
from ratelike._analysis._fano_factor import fano_factor
from ratelike._analysis._fixed_point import FixedPoint
from ratelike._analysis._natural import natural_continuation
from ratelike._analysis._neuron_spectra import neuron_spectra
from ratelike._analysis._spectrum import Spectrum, spectrum
from ratelike._analysis._stability import Stability, stability, stability_margin
from ratelike._analysis._stationary import stationary_state, stationary_states
from ratelike._analysis._transfer import transfer_function

__all__ = [
    "Autocovariance",
    "Bifurcation",
    "Branch",
    "FixedPoint",
    "Spectrum",
    "Stability",
    "autocovariance",
    "continuation",
    "fano_factor",
    "natural_continuation",
    "neuron_spectra",
    "spectrum",
    "stability",
    "stability_margin",
    "stationary_state",
    "stationary_states",
    "transfer_function",
]
