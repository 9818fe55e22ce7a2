"""Layers, and networks of them."""

from ratelike._network._feedback import Feedback as Feedback
from ratelike._network._feedback import check_feedback as check_feedback
from ratelike._network._layer import AbstractLayer as AbstractLayer
from ratelike._network._layer import Layer as Layer
from ratelike._network._layer import check_population as check_population
from ratelike._network._network import Network as Network
