"""What `ratelike.fit` may train, gradients of sampled spikes, and decoders by regression.

Results of `ratelike.fit`
    Fit               the trained network and its history
    FitError          raised where a loss or gradient is not finite; has the last good network

Domains, for arrays that `where` chooses
    Positive          steps are relative, and the value stays positive
    SignKept          each entry keeps its sign, zeros stay: Dale's law
    Between           an interval
    FixedSum          the sum stays, of all or along an axis
    Part              some entries of an array: an index, or a mask
    Unconstrained     any number

Gradients of spikes, for `ratelike.Spiking(...)`
    Refuse            none: differentiating raises (default)
    ScoreFunction     unbiased, in `sampled_loss`
    StraightThrough   biased: spikes forward, probabilities backward
    sampled_loss      mean loss over sampled trials

Maximum likelihood
    standard_errors   of fitted parameters, from the curvature of a log-likelihood
    StandardErrors    what it returns

Without gradients
    solve_decoders    decoders by ridge regression
"""

from ratelike._estimator._refuse import Refuse
from ratelike._estimator._score_function import ScoreFunction
from ratelike._estimator._straight_through import StraightThrough
from ratelike._training._decoders import solve_decoders
from ratelike._training._domains import (
    Between,
    FixedSum,
    Part,
    Positive,
    SignKept,
    Unconstrained,
)
from ratelike._training._fit import Fit, FitError
from ratelike._training._sampled_loss import sampled_loss
from ratelike._training._standard_errors import StandardErrors, standard_errors

__all__ = [
    "Between",
    "Fit",
    "FitError",
    "FixedSum",
    "Part",
    "Positive",
    "Refuse",
    "ScoreFunction",
    "SignKept",
    "StandardErrors",
    "StraightThrough",
    "Unconstrained",
    "sampled_loss",
    "solve_decoders",
    "standard_errors",
]
