"""Neurons with memory of their last spike (renewal neurons), and with adaptation."""

from ratelike._neuron._adaptive import AdaptiveSRM as AdaptiveSRM
from ratelike._neuron._ages import dead_steps as dead_steps
from ratelike._neuron._base import AbstractNeuronModel as AbstractNeuronModel
from ratelike._neuron._checks import check_can_fire as check_can_fire
from ratelike._neuron._checks import check_dead_time as check_dead_time
from ratelike._neuron._checks import check_neuron as check_neuron
from ratelike._neuron._checks import check_renewal as check_renewal
from ratelike._neuron._checks import chosen_neurons as chosen_neurons
from ratelike._neuron._checks import is_homogeneous as is_homogeneous
from ratelike._neuron._closure import AbstractClosure as AbstractClosure
from ratelike._neuron._closure import Adaptation as Adaptation
from ratelike._neuron._closure import MeanTrace as MeanTrace
from ratelike._neuron._closure import QuasiRenewal as QuasiRenewal
from ratelike._neuron._factors import factors_are_right as factors_are_right
from ratelike._neuron._fine_step import fine_step as fine_step
from ratelike._neuron._lif import LIF as LIF
from ratelike._neuron._mixture import Mixture as Mixture
from ratelike._neuron._renewal_neuron import AbstractNeuron as AbstractNeuron
from ratelike._neuron._renewal_neuron import (
    AbstractRenewalNeuron as AbstractRenewalNeuron,
)
from ratelike._neuron._renewal_neuron import (
    AbstractSeparableNeuron as AbstractSeparableNeuron,
)
from ratelike._neuron._srm0 import SRM0 as SRM0
