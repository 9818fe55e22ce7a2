"""Synapses: linear filters and delays of the latents."""

from ratelike._signal._synapse._alpha import AlphaSynapse as AlphaSynapse
from ratelike._signal._synapse._base import AbstractSynapse as AbstractSynapse
from ratelike._signal._synapse._base import map_apart as map_apart
from ratelike._signal._synapse._delay import Delay as Delay
from ratelike._signal._synapse._double_exponential import (
    DoubleExponentialSynapse as DoubleExponentialSynapse,
)
from ratelike._signal._synapse._exponential import (
    ExponentialSynapse as ExponentialSynapse,
)
from ratelike._signal._synapse._path import through_synapse as through_synapse
from ratelike._signal._synapse._sequence import SynapseLike as SynapseLike
from ratelike._signal._synapse._sequence import SynapseSequence as SynapseSequence
from ratelike._signal._synapse._sequence import as_synapse as as_synapse
from ratelike._signal._synapse._sequence import split_delay as split_delay
