"""The interpolated gain: its error over any potentials, its gradients, and that neurons do not affect each other."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import ratelike as rl
from ratelike._numerics._chebyshev import adaptive_cells, chebyshev_interpolant

pytestmark = pytest.mark.usefixtures("any_ranks")  # private functions are called

pytestmark = pytest.mark.usefixtures("any_ranks")

DT = 0.5e-3


class SharpEscape(rl.extend.AbstractEscape):
    """Exponential; as a user's own it is not separable."""

    width: Array

    def __call__(self, potential):
        lowest, highest = -80.0 * self.width, 60.0 * self.width
        return 10.0 * jnp.exp(jnp.clip(potential, lowest, highest) / self.width)


class SquareEscape(rl.extend.AbstractEscape):
    """Zero up to a corner, from where on log g is singular."""

    slope: Array

    def __call__(self, potential):
        return (self.slope * jnp.clip(potential, 0.0, 1e3)) ** 2


class StepEscape(rl.extend.AbstractEscape):
    """Its g jumps at the opposite of every value of the refractory kernel."""

    rate: Array

    def __call__(self, potential):
        return jnp.where(potential > 0.0, self.rate, jnp.zeros_like(potential))


class ConstantEscape(rl.extend.AbstractEscape):
    """There is neither a silent nor a saturated end."""

    rate: Array

    def __call__(self, potential):
        return self.rate + jnp.zeros_like(potential)


def short(escape):
    """With a memory that compiles to the same loop and runs faster."""
    return rl.SRM0(escape=escape, refractory=rl.ExponentialRefractory(memory=50e-3))


NEURONS = {
    "default": lambda: rl.SRM0(),
    "sharp": lambda: short(SharpEscape(jnp.asarray(0.01))),
    "wide": lambda: short(rl.ExponentialEscape(width=10.0)),
    "sigmoid": lambda: short(rl.SigmoidEscape()),
    "softplus": lambda: short(rl.SoftplusEscape()),
    "square": lambda: short(SquareEscape(jnp.asarray(4.0))),
    "step": lambda: short(StepEscape(jnp.asarray(100.0))),
    "LIF": lambda: rl.LIF(memory=50e-3),
    "adaptive": lambda: rl.AdaptiveSRM(
        refractory=rl.ExponentialRefractory(memory=20e-3)
    ),
}
ADAPTIVE_REACH = (
    30.0  # beyond it Newton's method in `stationary_rate` has not always converged
)


def cast(neuron, dtype):
    return jax.tree.map(
        lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x,
        neuron,
    )


def potentials(dtype, reach=np.inf):
    """Everywhere, densely near 0, in two steps of a block."""
    rng = np.random.default_rng(0)
    near = [rng.uniform(-s, s, 1000) for s in (1.0, 6.0, 30.0, 200.0, 1e4)]
    h = np.concatenate([*near, [-1e6, 1e6]])
    return jnp.asarray(np.clip(h, -reach, reach).reshape(2, -1), dtype)


@functools.partial(jax.jit, static_argnums=0)
def both(gain, neuron, h):
    return gain(neuron, h, DT), rl.DirectRate()(neuron, h, DT)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("default", jnp.float64), *((name, jnp.float32) for name in NEURONS)],
)
def test_no_potentials_are_too_far_apart(name, dtype):
    """A relative error of 10^-4 wherever more than 10^-10 spikes fall into a step, and an absolute one of that below."""
    neuron = cast(NEURONS[name](), dtype)
    h = potentials(dtype, ADAPTIVE_REACH if name == "adaptive" else np.inf)
    found, exact = both(rl.ChebyshevRate(), neuron, h)
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-10 / DT)
    assert float(exact.min()) * DT < 1e-10 < 0.02 < float(exact.max()) * DT


def test_types_of_a_mixture_have_a_table_each():
    kind = np.arange(potentials(float).shape[1]) % 2
    mixture = rl.Mixture([NEURONS["sharp"](), rl.LIF(memory=50e-3)], kind)
    h = potentials(jnp.float64)
    found, exact = both(rl.ChebyshevRate(), mixture, h)
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-10 / DT)


def test_cells_follow_the_bends_of_a_function():
    """None is in doubt where one bend lies in an interval of 2000 times its width, at numbers that rounding moves by 1/1000."""

    def bend(x):
        return jnp.minimum(x - 1e4, 0.0) - jnp.log1p(jnp.exp(-jnp.abs(x - 1e4)))

    ends = jnp.float32(1e4 - 20.0), jnp.float32(1e4 + 2000.0)
    table = chebyshev_interpolant(bend, adaptive_cells(bend, *ends, 384))
    assert bool(table.trusted.all())
    x = jnp.linspace(*ends, 20_001, dtype=jnp.float32)
    exact = -np.logaddexp(0.0, 1e4 - np.asarray(x, float))
    np.testing.assert_allclose(table(x), exact, rtol=1e-6, atol=3e-5)


def test_cells_beside_a_jump_are_not_trusted():
    """Wherever in a cell it is, beyond the outermost node too."""
    ends = jnp.asarray([0.0, 1.0])

    def wrong(place):
        def jump(x):
            return jnp.where(x > place, 1.0, 0.0)

        table = chebyshev_interpolant(jump, adaptive_cells(jump, *ends, 16))
        x = place + jnp.asarray([-1e-6, 1e-6])
        return table.trusts(x) & (jnp.abs(table(x) - jump(x)) > 1e-4)

    places = jnp.linspace(0.2503, 0.4997, 2000)
    assert not bool(jax.jit(jax.vmap(wrong))(places).any())


def test_an_outlier_changes_no_bit_of_the_others():
    neuron = cast(rl.SRM0(), jnp.float32)
    h = 1.0 + jax.random.normal(jax.random.key(0), (16, 64), jnp.float32)
    outliers = h.at[3, 5].set(1e6).at[7, 6].set(-200.0)
    gain = jax.jit(lambda h: rl.ChebyshevRate()(neuron, h, DT))
    same = np.asarray(h == outliers)
    np.testing.assert_array_equal(gain(h)[same], gain(outliers)[same])
    assert same.sum() == h.size - 2


@pytest.mark.slow
def test_neither_parts_nor_a_mesh_change_a_bit():
    """On a mesh four parts of one tile each; without one the population as a whole."""
    grid = rl.TimeGrid(DT, 60)
    increments = rl.WienerDrive(2, key=jax.random.key(1)).increments(grid)
    network = rl.relay_network(
        rl.SRM0(), num_neurons=200, num_latents=2, depth=1, key=jax.random.key(0)
    )
    meshes = None, jax.make_mesh((1,), ("neurons",))
    whole, parts = (
        rl.simulate(network, increments, grid, rl.ConventionalRate(), mesh=mesh)
        for mesh in meshes
    )
    np.testing.assert_array_equal(parts.increments, whole.increments)
    np.testing.assert_array_equal(parts.rates, whole.rates)


@pytest.mark.parametrize("name", ["default", "square"])
def test_gradients_are_those_of_the_definition(name):
    """By potentials and by parameters, beside outliers; of the square escape rate some by the definition itself."""
    neuron = cast(NEURONS[name](), jnp.float64)
    near = np.linspace(-8.0, 16.0, 190)
    h = jnp.asarray([[*near, 0.02, 1e6], [*near + 0.05, -300.0, -1e6]])

    def total(neuron, h, gain):
        # Each potential counts alike, however low its rate.
        return jnp.sum(jnp.log(1e-3 + gain(neuron, h, DT)))

    slopes = [
        jax.jit(jax.grad(total, argnums=(0, 1)), static_argnums=2)(neuron, h, gain)
        for gain in (rl.ChebyshevRate(), rl.DirectRate())
    ]
    for one, other in zip(*map(jax.tree.leaves, slopes), strict=True):
        scale = float(jnp.abs(other).max())
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("rate", [0.0, 100.0])
def test_a_rate_that_no_potential_changes_is_interpolated_too(rate):
    """Of an interval without length, values and slopes are finite."""
    neuron = cast(short(ConstantEscape(jnp.asarray(rate))), jnp.float32)
    h = jnp.asarray([[-1e6, -3.0, 0.0, 7.0, 1e6]], jnp.float32)
    gain = rl.ChebyshevRate()
    np.testing.assert_allclose(
        gain(neuron, h, DT), rl.DirectRate()(neuron, h, DT), rtol=2e-5, atol=1e-10
    )
    slope = jax.grad(lambda h: gain(neuron, h, DT).sum())(h)
    np.testing.assert_allclose(slope, 0.0, atol=1e-2)


def test_a_batch_takes_one_way():
    """In a batch the definition is evaluated for all where one needs it, and else for none."""
    neuron = cast(short(SquareEscape(jnp.asarray(4.0))), jnp.float64)
    rates = jax.vmap(lambda h: rl.ChebyshevRate()(neuron, h, DT))
    corner = 5.0 * np.exp(-50e-3 / 20e-3)  # where refractoriness is least
    h = jnp.asarray([[[1.0, 2.0]], [[corner + 1e-3, 30.0]]])
    exact = rl.DirectRate()(neuron, h, DT)
    np.testing.assert_allclose(jax.jit(rates)(h), exact, rtol=1e-4)
    assert str(jax.make_jaxpr(rates)(h)).count("cond[") == 2
