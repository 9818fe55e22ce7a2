"""Generalised rate networks: the limit of large networks of noisy spiking neurons with memory.

    import ratelike as rl

Neurons
    SRM0                    spike response model: the input plus a kernel of the time since the last spike
    LIF                     leaky integrate and fire: the reset remembers the potential at the spike
    AdaptiveSRM             SRM0 with after-potentials of all past spikes
    Adaptation              one exponential after-potential
    QuasiRenewal            closure of its rate: earlier spikes as a Poisson process (default)
    MeanTrace               closure of its rate: earlier spikes by their mean
    Mixture                 several types of neuron in one population
    ExponentialEscape       escape rate f(u) = rate exp((u - threshold) / width)
    SigmoidEscape           the same, saturating
    SoftplusEscape          the same, linear above threshold
    ExponentialRefractory   refractory kernel -amplitude exp(-a / tau)
    PowerLawRefractory      the same with a power law
    AlphaRefractory         the same with a delayed peak
    TableRefractory         the same by linear interpolation of a table
    SumRefractory           a sum of kernels
    NoRefractory            no memory: linear-nonlinear-Poisson neurons
    stationary_rate         rate at constant potential

Networks
    Network                 layers, one after the other
    Layer                   a population with its encoder, decoder and bias
    StreamedLayer           the same, with connections that follow from a key
    Feedback                recurrent weights of low rank within a layer
    population_layer        named populations, and connections between them, as one layer
    Neurons                 one of these populations
    Connection              weights from one to another
    low_rank                encoder and decoder of given weights
    relay_network           random layers that hand on latents of unit variance
    streamed_relay_network  the same of streamed layers
    infinite_relay_network  its limit of infinitely many neurons
    attractor_network       patterns stored in the recurrent weights of one layer
    from_rnn                the layer that does what a trained rate network does
    GaussHermite            nodes of the infinite network, for few latents
    QuasiMonteCarlo         nodes of the infinite network, for many latents

Synapses
    ExponentialSynapse      kernel exp(-s / tau) / tau
    AlphaSynapse            kernel s exp(-s / tau) / tau^2
    DoubleExponentialSynapse  the same with time constants of rise and decay
    Delay                   a delay

Time and input
    TimeGrid                time steps
    SignalDrive             a table of a signal, sampled in its own way
    SampleAndHold           the signal between samples: held
    PiecewiseLinear         the same, linear
    FunctionDrive           a function of time
    WienerDrive             white noise, the same path at every time step
    OrnsteinUhlenbeckDrive  coloured noise, the same path at every time step
    SpikeTrainDrive         given spikes of other neurons
    JoinedDrive             latents of several drives side by side
    SumDrive                a sum of drives, as drive + other makes it
    ScaledDrive             a multiple of a drive, as 0.5 * drive makes it
    GridPath                increments on a grid as a diffrax path

Simulation
    simulate                run a network on a grid under a dynamics
    Trajectory              what it returns
    State                   that at the end of a run, from which another one goes on
    stationary_state        that after constant input for a long time
    stream                  a run of any length in pieces, resumable
    Spikes                  what to record: spikes of all neurons, or of some, in bits
    Traces                  what to record: potential and activity of all neurons, or of some
    Spiking                 dynamics: escape-noise spikes
    GeneralisedRate         dynamics: expected activity, by the refractory density
    ConventionalRate        dynamics: static function of the potential
    AgeShift                solver of the density, exact on the grid
    AgeMesh                 bins of age that grow wider with age, for AgeShift
    fitted_age_mesh         the coarsest of them whose measured error keeps to a tolerance
    ChebyshevRate           the conventional rate by interpolation (default)
    DirectRate              the conventional rate by its definition
    mean_absolute_error     distance of two outputs
    membrane_traces         increments seen by a membrane
    use_all_cores           all cores of a processor within jit, vmap and grad, too

Error without spikes
    expected_error          predicted distance of the spiking network from its limit
    LinearResponse          of layers to the fluctuations before them (default)
    NonlinearResponse       the same with the shift of the mean, for small networks
    readout_variance        variance of the output of one layer
    readout_covariance      its covariance over time

Studies and training
    convergence             error against network size
    sweep                   convergence over axes of parameters, resumable
    trials                  mean and standard error over runs of one network
    fit                     train a network
    rate_loss               loss of the generalised rate network
    expected_spiking_loss   expected loss of the spiking network, without spikes

Recordings
    log_likelihood          of recorded spikes under the neuron model
    time_rescaling          test of the intervals between them

Files
    save                    write a network, a drive, a trajectory, a study, ... to a file
    load                    read it again, bit for bit

Namespaces
    study                   results of studies, tables on disk, progress
    analysis                stationary states, linear response, stability, spectra
    train                   what may be trained, gradients of spikes, decoders
    extend                  abstract classes for neurons, layers, dynamics, ... of your own
    plot                    pictures of results (imports matplotlib)
"""

import importlib as _importlib
import typing as _typing

from ratelike import analysis as analysis
from ratelike import extend as extend
from ratelike import study as study
from ratelike import train as train
from ratelike._density._age_mesh import AgeMesh as AgeMesh
from ratelike._density._age_shift import AgeShift as AgeShift
from ratelike._dynamics._conventional import ConventionalRate as ConventionalRate
from ratelike._dynamics._generalised import GeneralisedRate as GeneralisedRate
from ratelike._dynamics._spiking import Spiking as Spiking
from ratelike._dynamics._state import State as State
from ratelike._dynamics._stationary_rates import ChebyshevRate as ChebyshevRate
from ratelike._dynamics._stationary_rates import DirectRate as DirectRate
from ratelike._dynamics._stationary_state import stationary_state as stationary_state
from ratelike._dynamics._trajectory import Trajectory as Trajectory
from ratelike._escape import ExponentialEscape as ExponentialEscape
from ratelike._escape import SigmoidEscape as SigmoidEscape
from ratelike._escape import SoftplusEscape as SoftplusEscape
from ratelike._fluctuations._expected_error import expected_error as expected_error
from ratelike._fluctuations._response import LinearResponse as LinearResponse
from ratelike._fluctuations._response import NonlinearResponse as NonlinearResponse
from ratelike._fluctuations._variance import readout_covariance as readout_covariance
from ratelike._fluctuations._variance import readout_variance as readout_variance
from ratelike._io._load import load as load
from ratelike._io._save import save as save
from ratelike._io._version import __version__ as __version__
from ratelike._likelihood._log_likelihood import log_likelihood as log_likelihood
from ratelike._likelihood._time_rescaling import time_rescaling as time_rescaling
from ratelike._network import Layer as Layer
from ratelike._network import Network as Network
from ratelike._network._attractor import attractor_network as attractor_network
from ratelike._network._connection import Connection as Connection
from ratelike._network._connection import Neurons as Neurons
from ratelike._network._feedback import Feedback as Feedback
from ratelike._network._from_rnn import from_rnn as from_rnn
from ratelike._network._infinite import infinite_relay_network as infinite_relay_network
from ratelike._network._low_rank import low_rank as low_rank
from ratelike._network._nodes import GaussHermite as GaussHermite
from ratelike._network._nodes import QuasiMonteCarlo as QuasiMonteCarlo
from ratelike._network._population_layer import population_layer as population_layer
from ratelike._network._relay import relay_network as relay_network
from ratelike._network._streamed import StreamedLayer as StreamedLayer
from ratelike._network._streamed import streamed_relay_network as streamed_relay_network
from ratelike._neuron import LIF as LIF
from ratelike._neuron import SRM0 as SRM0
from ratelike._neuron import Adaptation as Adaptation
from ratelike._neuron import AdaptiveSRM as AdaptiveSRM
from ratelike._neuron import MeanTrace as MeanTrace
from ratelike._neuron import Mixture as Mixture
from ratelike._neuron import QuasiRenewal as QuasiRenewal
from ratelike._neuron._stationary_rate import stationary_rate as stationary_rate
from ratelike._population._all_cores import use_all_cores as use_all_cores
from ratelike._population._record import Spikes as Spikes
from ratelike._population._record import Traces as Traces
from ratelike._refractory import AlphaRefractory as AlphaRefractory
from ratelike._refractory import ExponentialRefractory as ExponentialRefractory
from ratelike._refractory import NoRefractory as NoRefractory
from ratelike._refractory import PowerLawRefractory as PowerLawRefractory
from ratelike._refractory import SumRefractory as SumRefractory
from ratelike._refractory import TableRefractory as TableRefractory
from ratelike._signal._drive import GridPath as GridPath
from ratelike._signal._drive import ScaledDrive as ScaledDrive
from ratelike._signal._drive import SumDrive as SumDrive
from ratelike._signal._drives._function import FunctionDrive as FunctionDrive
from ratelike._signal._drives._interpolation import PiecewiseLinear as PiecewiseLinear
from ratelike._signal._drives._interpolation import SampleAndHold as SampleAndHold
from ratelike._signal._drives._joined import JoinedDrive as JoinedDrive
from ratelike._signal._drives._ornstein_uhlenbeck import (
    OrnsteinUhlenbeckDrive as OrnsteinUhlenbeckDrive,
)
from ratelike._signal._drives._signal import SignalDrive as SignalDrive
from ratelike._signal._drives._spike_train import SpikeTrainDrive as SpikeTrainDrive
from ratelike._signal._drives._wiener import WienerDrive as WienerDrive
from ratelike._signal._error import mean_absolute_error as mean_absolute_error
from ratelike._signal._grid import TimeGrid as TimeGrid
from ratelike._signal._membrane import membrane_traces as membrane_traces
from ratelike._signal._synapse import AlphaSynapse as AlphaSynapse
from ratelike._signal._synapse import Delay as Delay
from ratelike._signal._synapse import (
    DoubleExponentialSynapse as DoubleExponentialSynapse,
)
from ratelike._signal._synapse import ExponentialSynapse as ExponentialSynapse
from ratelike._simulate import simulate as simulate
from ratelike._study._convergence import convergence as convergence
from ratelike._study._fitted_mesh import fitted_age_mesh as fitted_age_mesh
from ratelike._study._stream import stream as stream
from ratelike._study._sweep._sweep import sweep as sweep
from ratelike._study._trials import trials as trials
from ratelike._training._fit import fit as fit
from ratelike._training._losses import expected_spiking_loss as expected_spiking_loss
from ratelike._training._losses import rate_loss as rate_loss

if _typing.TYPE_CHECKING:
    from ratelike import plot as plot

# There is no `__all__`: with it `help` would print the documentation of every class after the table. Every name without
# an underscore is public.


def __dir__() -> list[str]:
    public = [name for name in globals() if not name.startswith("_")]
    return sorted({*public, "plot", "__version__"})


def __getattr__(name: str) -> _typing.Any:
    if name == "plot":  # when it is used: matplotlib is slow to import
        return _importlib.import_module("ratelike.plot")
    for module in (analysis, study, train, extend):
        if name in module.__all__:
            moved = f"{module.__name__}.{name}"
            raise AttributeError(f"ratelike.{name} is now {moved}")
    raise AttributeError(f"module 'ratelike' has no attribute {name!r}")
