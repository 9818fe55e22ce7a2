"""The values that what is trained may take."""

from ratelike._training._domains._base import AbstractDomain as AbstractDomain
from ratelike._training._domains._between import Between as Between
from ratelike._training._domains._fixed_sum import FixedSum as FixedSum
from ratelike._training._domains._part import Part as Part
from ratelike._training._domains._positive import Positive as Positive
from ratelike._training._domains._sign_kept import SignKept as SignKept
from ratelike._training._domains._unconstrained import Unconstrained as Unconstrained
