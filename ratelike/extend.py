"""Abstract classes for neurons, connections, inputs and dynamics of your own, and the types that their methods use.

Neurons
    AbstractNeuron                what fires: a mark left by the last spike, and a hazard
    AbstractSeparableNeuron       one whose hazard is a function of the potential times one of age, which is faster
    AbstractRenewalNeuron         one that decides by its parameters whether its hazard is such a product
    AbstractNeuronModel           all that dynamics ask of a neuron: for those that remember more than their last spike
    Factors                       what a separable neuron returns
    AbstractEscape                escape rate: one elementwise function
    AbstractInvertibleEscape      one that knows the potential of a mean rate
    AbstractSeparableEscape       one with f(u + offset) = f(u) ratio(offset), which is faster
    AbstractRefractory            refractory kernel: one elementwise function and its memory
    AbstractRecursiveRefractory   one that follows from its value a step before, which is faster
    AbstractClosure               how a rate stands for the spikes before the last one
    Term                          what a closure returns

Networks
    AbstractLayer                 a population, wherever its connections are kept
    AbstractConnectivity          connections drawn tile by tile, for StreamedLayer
    TILE                          neurons in a tile
    AbstractNodes                 nodes and weights of an infinite network

Input
    AbstractDrive                 anything that knows its increments on a grid
    AbstractInterpolation         a signal between the samples of a table
    Share                         what an interpolation returns
    grid_increments               increments of any diffrax path
    AbstractSynapse               a linear map of a path to a path, with its state

Dynamics
    AbstractDynamics              how a layer responds to a path
    Population                    what runs: neurons with the connections that they use
    Decoded                       sums over the neurons of a population
    LayerOutput                   what a dynamics returns
    Recording                     what it recorded of chosen neurons
    SpikeTrains                   their spikes, in bits
    RefractoryDensity             what the density's `diffrax.SaveAt(fn=...)` gets
    AbstractStationaryRate        how the conventional rate is evaluated

Training
    AbstractEstimator             gradient of sampled spikes
    Sample                        what an estimator calls to draw spikes
    Trial                         one run of a sampled loss
    AbstractDomain                values that a trained array may take
"""

from ratelike._density._state import RefractoryDensity
from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._stationary_rates import AbstractStationaryRate
from ratelike._escape import (
    AbstractEscape,
    AbstractInvertibleEscape,
    AbstractSeparableEscape,
)
from ratelike._estimator._base import AbstractEstimator, Sample, Trial
from ratelike._network import AbstractLayer
from ratelike._network._connectivity import AbstractConnectivity
from ratelike._network._nodes import AbstractNodes
from ratelike._neuron import (
    AbstractClosure,
    AbstractNeuron,
    AbstractNeuronModel,
    AbstractRenewalNeuron,
    AbstractSeparableNeuron,
)
from ratelike._neuron._base import Factors
from ratelike._neuron._closure import Term
from ratelike._numerics._tile_random import TILE
from ratelike._population._output import LayerOutput, Recording
from ratelike._population._population import Decoded, Population
from ratelike._population._spike_trains import SpikeTrains
from ratelike._refractory import AbstractRecursiveRefractory, AbstractRefractory
from ratelike._signal._drive import AbstractDrive, grid_increments
from ratelike._signal._drives._interpolation import AbstractInterpolation, Share
from ratelike._signal._synapse import AbstractSynapse
from ratelike._training._domains import AbstractDomain

__all__ = [
    "TILE",
    "AbstractClosure",
    "AbstractConnectivity",
    "AbstractDomain",
    "AbstractDrive",
    "AbstractDynamics",
    "AbstractEscape",
    "AbstractEstimator",
    "AbstractInterpolation",
    "AbstractInvertibleEscape",
    "AbstractLayer",
    "AbstractNeuron",
    "AbstractNeuronModel",
    "AbstractNodes",
    "AbstractRecursiveRefractory",
    "AbstractRefractory",
    "AbstractRenewalNeuron",
    "AbstractSeparableEscape",
    "AbstractSeparableNeuron",
    "AbstractStationaryRate",
    "AbstractSynapse",
    "Decoded",
    "Factors",
    "LayerOutput",
    "Population",
    "Recording",
    "RefractoryDensity",
    "Sample",
    "Share",
    "SpikeTrains",
    "Term",
    "Trial",
    "grid_increments",
]
