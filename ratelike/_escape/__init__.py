"""Escape noise: the instantaneous firing rate as a function of the membrane potential."""

from ratelike._escape._base import AbstractEscape as AbstractEscape
from ratelike._escape._base import AbstractInvertibleEscape as AbstractInvertibleEscape
from ratelike._escape._base import AbstractSeparableEscape as AbstractSeparableEscape
from ratelike._escape._base import acting_potential as acting_potential
from ratelike._escape._base import ratio_of as ratio_of
from ratelike._escape._exponential import ExponentialEscape as ExponentialEscape
from ratelike._escape._sigmoid import SigmoidEscape as SigmoidEscape
from ratelike._escape._softplus import SoftplusEscape as SoftplusEscape
