"""Neurons with memory of their last spike (renewal neurons)."""

from ratelike._neuron._base import AbstractNeuron as AbstractNeuron
from ratelike._neuron._checks import check_dead_time as check_dead_time
from ratelike._neuron._checks import check_neuron as check_neuron
from ratelike._neuron._checks import dead_steps as dead_steps
from ratelike._neuron._checks import is_homogeneous as is_homogeneous
from ratelike._neuron._lif import LIF as LIF
from ratelike._neuron._mixture import Mixture as Mixture
from ratelike._neuron._srm0 import SRM0 as SRM0
