"""A user's own neuron that opts in to the fast ways: the default `SRM0`, written by hand from its equations."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

import ratelike as rl


class UsersSRM(rl.extend.AbstractSeparableNeuron):
    """u = h - amplitude exp(-a / tau), rho = f(u), and f is exponential."""

    tau_m: Array  # s
    escape: rl.ExponentialEscape
    amplitude: Array
    tau: Array  # s
    dead_time: Array  # s
    memory: float = eqx.field(static=True)  # s
    shortest_dead_time: float = eqx.field(static=True)  # s

    def escape_rate(self, potential):
        return self.escape(potential)

    def ratio(self, age):
        return self._ratio_of_recovery(self._recovery(age))

    def successive_ratios(self, ages, step):
        """The recovery falls by one factor from step to step."""
        factor = jnp.exp(-step / self.tau)
        last = self._recovery(jnp.asarray(self.memory, self.tau.dtype))
        recoveries = [self._recovery(ages[0])]
        for _ in ages[1:]:
            recoveries.append(jnp.maximum(recoveries[-1] * factor, last))
        return [self._ratio_of_recovery(each) for each in recoveries]

    def _recovery(self, age):
        return jnp.exp(-jnp.minimum(age, self.memory) / self.tau)

    def _ratio_of_recovery(self, recovery):
        offset = -self.amplitude * recovery
        return jnp.exp(jnp.minimum(offset / self.escape.width, 20.0))


def users_srm() -> UsersSRM:
    """With the parameters of `SRM0()`."""
    seconds = [jnp.asarray(number, float) for number in (10e-3, 20e-3, 2e-3)]
    tau_m, tau, dead_time = seconds
    amplitude = jnp.asarray(5.0, float)
    escape = rl.ExponentialEscape()
    return UsersSRM(tau_m, escape, amplitude, tau, dead_time, 100e-3, 2e-3)
