"""Under `jit` nothing can be refused by its value: `succeeded` says what `simulate` would have, under every dynamics."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import ratelike as rl

NAN = jnp.nan
GRID, KEY = rl.TimeGrid(1e-3, 7), jax.random.key(0)
INCREMENTS = np.full((7, 2), 1e-3)
DYNAMICS = (rl.Spiking(), rl.GeneralisedRate(), rl.ConventionalRate(rl.DirectRate()))


class NaNAbove(rl.extend.AbstractEscape):
    """Goes wrong at a potential that only the first steps of the simulation reach."""

    level: Array

    def __call__(self, potential):
        return jnp.where(potential > self.level, jnp.nan, 10.0)


def network(escape=None, amplitude=5.0):
    kernel = rl.ExponentialRefractory(amplitude, memory=3e-3)
    neuron = rl.SRM0(escape=escape, refractory=kernel)
    encoder = np.array([[1.0, 0.5], [0.2, 1.0], [0.3, 0.4]])
    return rl.Network([rl.Layer(neuron, encoder, encoder)] * 2)


NETWORK = network()
EDITS = {
    "bias": lambda n: n.layers[1].bias,
    "encoder": lambda n: n.layers[1].encoder,
    "decoder": lambda n: n.layers[1].decoder,
    "tau_m": lambda n: n.layers[1].neuron.tau_m,
    "threshold": lambda n: n.layers[1].neuron.escape.threshold,
    "amplitude": lambda n: n.layers[1].neuron.refractory.amplitude,
    "dead_time": lambda n: n.layers[1].neuron.refractory.dead_time,
    "output_tau_m": lambda n: n.output_tau_m,
}


@pytest.fixture(params=DYNAMICS, ids=lambda dynamics: type(dynamics).__name__)
def succeeded(request):
    """One compiled program for all cases."""
    rest = eqx.filter(NETWORK, eqx.is_array, inverse=True)

    @jax.jit
    def run(arrays, increments):
        key = KEY if request.param.needs_key else None
        simulated = eqx.combine(arrays, rest)
        return rl.simulate(
            simulated, increments, GRID, request.param, key=key
        ).succeeded

    return lambda simulated, increments: run(
        eqx.filter(simulated, eqx.is_array), increments
    )


def test_succeeded_is_false_where_something_is_not_finite(succeeded):
    assert succeeded(NETWORK, INCREMENTS).all()
    for name, where in EDITS.items():
        leaf = where(NETWORK)
        # One entry of an array is enough.
        broken = leaf.at[(0,) * leaf.ndim].set(NAN)
        edited = eqx.tree_at(where, NETWORK, broken)
        np.testing.assert_array_equal(
            succeeded(edited, INCREMENTS), [True, False], name
        )
    # The first of the steps: its potential is long past at the end.
    for value in (np.nan, np.inf, 1e308):  # the last one overflows in the potential
        increments = INCREMENTS.copy()
        increments[0, 1] = value
        assert not succeeded(NETWORK, increments)[0]


@pytest.mark.parametrize(
    "dynamics", DYNAMICS, ids=lambda dynamics: type(dynamics).__name__
)
def test_an_escape_rate_that_turns_to_nan(dynamics):
    escape = NaNAbove(jnp.asarray(0.1))

    def run(level, increments):
        simulated = network(eqx.tree_at(lambda e: e.level, escape, level), 0.0)
        key = KEY if dynamics.needs_key else None
        return rl.simulate(simulated, increments, GRID, dynamics, key=key).succeeded

    run = jax.jit(run)
    # A jump to 1.4, far below the level at the end.
    first_only = 1e-2 * np.eye(7)[:, :1] * np.ones(2)
    assert run(5.0, first_only).all()
    assert not run(1.0, first_only)[0]


class BrokenDrive(rl.extend.AbstractDrive):
    """Its increments are an unpleasant surprise, at the last step."""

    value: Array

    def increments(self, grid):
        return jnp.zeros((grid.num_steps, 2)).at[-1].set(self.value)


def test_convergence_raises_where_simulate_would():
    def study(value):
        rl.convergence(
            lambda num_neurons, key: NETWORK,
            [3],
            GRID,
            num_trials=1,
            key=KEY,
            make_drive=lambda network, key: BrokenDrive(jnp.asarray(value)),
            dynamics=rl.study.ComparedDynamics(generalised=rl.ConventionalRate()),
        )

    study(0.0)
    with pytest.raises(RuntimeError, match=r"size 3 under Spiking .* trials 0 to 0"):
        study(jnp.inf)
