"""Checks of static facts, made before anything is traced.

Every message names the argument, the rule and the value. Values that are being traced (inside `jax.jit`,
`jax.grad`, `jax.vmap`) cannot be looked at and pass unchecked; their shapes are still checked.
"""

from ratelike._validation._numbers import LARGEST_COUNT as LARGEST_COUNT
from ratelike._validation._numbers import bare as bare
from ratelike._validation._numbers import burn_in as burn_in
from ratelike._validation._numbers import count as count
from ratelike._validation._numbers import flag as flag
from ratelike._validation._numbers import number as number
from ratelike._validation._numbers import parameter as parameter
from ratelike._validation._numbers import signal as signal
from ratelike._validation._shown import shown as shown
from ratelike._validation._structure import finite_leaves as finite_leaves
from ratelike._validation._structure import function as function
from ratelike._validation._structure import instance as instance
from ratelike._validation._structure import is_concrete as is_concrete
from ratelike._validation._structure import shape as shape
from ratelike._validation._structure import typed_key as typed_key
