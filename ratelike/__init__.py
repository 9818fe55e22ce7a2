"""Generalised rate networks: the limit of large networks of noisy spiking neurons with memory."""

import importlib
from typing import TYPE_CHECKING, Any

from ratelike._density._age_mesh import AgeMesh as AgeMesh
from ratelike._density._age_shift import AgeShift as AgeShift
from ratelike._density._state import RefractoryDensity as RefractoryDensity
from ratelike._dynamics._base import AbstractDynamics as AbstractDynamics
from ratelike._dynamics._conventional import ConventionalRate as ConventionalRate
from ratelike._dynamics._generalised import GeneralisedRate as GeneralisedRate
from ratelike._dynamics._spiking import Spiking as Spiking
from ratelike._dynamics._stationary_rates import (
    AbstractStationaryRate as AbstractStationaryRate,
)
from ratelike._dynamics._stationary_rates import ChebyshevRate as ChebyshevRate
from ratelike._dynamics._stationary_rates import DirectRate as DirectRate
from ratelike._escape import AbstractEscape as AbstractEscape
from ratelike._escape import AbstractInvertibleEscape as AbstractInvertibleEscape
from ratelike._escape import AbstractSeparableEscape as AbstractSeparableEscape
from ratelike._escape import ExponentialEscape as ExponentialEscape
from ratelike._escape import SigmoidEscape as SigmoidEscape
from ratelike._escape import SoftplusEscape as SoftplusEscape
from ratelike._estimator._base import AbstractEstimator as AbstractEstimator
from ratelike._estimator._refuse import Refuse as Refuse
from ratelike._estimator._score_function import ScoreFunction as ScoreFunction
from ratelike._estimator._straight_through import StraightThrough as StraightThrough
from ratelike._fluctuations._expected_error import expected_error as expected_error
from ratelike._fluctuations._variance import readout_covariance as readout_covariance
from ratelike._fluctuations._variance import readout_variance as readout_variance
from ratelike._network import AbstractLayer as AbstractLayer
from ratelike._network import Layer as Layer
from ratelike._network import Network as Network
from ratelike._network._attractor import attractor_network as attractor_network
from ratelike._network._feedback import Feedback as Feedback
from ratelike._network._infinite import infinite_relay_network as infinite_relay_network
from ratelike._network._nodes import AbstractNodes as AbstractNodes
from ratelike._network._nodes import GaussHermite as GaussHermite
from ratelike._network._nodes import QuasiMonteCarlo as QuasiMonteCarlo
from ratelike._network._relay import AbstractConnectivity as AbstractConnectivity
from ratelike._network._relay import relay_network as relay_network
from ratelike._network._streamed import StreamedLayer as StreamedLayer
from ratelike._network._streamed import streamed_relay_network as streamed_relay_network
from ratelike._neuron import LIF as LIF
from ratelike._neuron import SRM0 as SRM0
from ratelike._neuron import AbstractClosure as AbstractClosure
from ratelike._neuron import AbstractNeuron as AbstractNeuron
from ratelike._neuron import AbstractNeuronModel as AbstractNeuronModel
from ratelike._neuron import AbstractSeparableNeuron as AbstractSeparableNeuron
from ratelike._neuron import Adaptation as Adaptation
from ratelike._neuron import AdaptiveSRM as AdaptiveSRM
from ratelike._neuron import MeanTrace as MeanTrace
from ratelike._neuron import Mixture as Mixture
from ratelike._neuron import QuasiRenewal as QuasiRenewal
from ratelike._neuron._stationary_rate import stationary_rate as stationary_rate
from ratelike._population._output import Recording as Recording
from ratelike._refractory import AbstractRefractory as AbstractRefractory
from ratelike._refractory import AlphaRefractory as AlphaRefractory
from ratelike._refractory import ExponentialRefractory as ExponentialRefractory
from ratelike._refractory import NoRefractory as NoRefractory
from ratelike._refractory import PowerLawRefractory as PowerLawRefractory
from ratelike._refractory import SumRefractory as SumRefractory
from ratelike._refractory import TableRefractory as TableRefractory
from ratelike._signal._drive import AbstractDrive as AbstractDrive
from ratelike._signal._drive import GridPath as GridPath
from ratelike._signal._drive import WienerDrive as WienerDrive
from ratelike._signal._error import mean_absolute_error as mean_absolute_error
from ratelike._signal._grid import TimeGrid as TimeGrid
from ratelike._signal._membrane import membrane_traces as membrane_traces
from ratelike._simulate import Trajectory as Trajectory
from ratelike._simulate import simulate as simulate
from ratelike._study._convergence import Cell as Cell
from ratelike._study._convergence import Convergence as Convergence
from ratelike._study._convergence import convergence as convergence
from ratelike._study._dataset import from_dataset as from_dataset
from ratelike._study._dataset import to_dataset as to_dataset
from ratelike._study._error_curve import ErrorCurve as ErrorCurve
from ratelike._study._error_curve import Slope as Slope
from ratelike._study._progress import Progress as Progress
from ratelike._study._sweep._result import SweepResult as SweepResult
from ratelike._study._sweep._result import read_sweep as read_sweep
from ratelike._study._sweep._sweep import sweep as sweep
from ratelike._training._decoders import solve_decoders as solve_decoders
from ratelike._training._fit import Fit as Fit
from ratelike._training._fit import FitError as FitError
from ratelike._training._fit import fit as fit
from ratelike._training._losses import expected_spiking_loss as expected_spiking_loss
from ratelike._training._losses import rate_loss as rate_loss
from ratelike._training._parameters import AbstractDomain as AbstractDomain
from ratelike._training._parameters import Positive as Positive
from ratelike._training._parameters import Unconstrained as Unconstrained
from ratelike._training._sampled_loss import sampled_loss as sampled_loss

if TYPE_CHECKING:
    from ratelike import plot as plot

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name == "plot":  # when it is used: matplotlib is slow to import
        return importlib.import_module("ratelike.plot")
    raise AttributeError(f"module 'ratelike' has no attribute {name!r}")
