"""Each abstract class of `ratelike.extend`, implemented once from public names alone: minimal, and it runs."""

import dataclasses
import inspect
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array, PyTree

import ratelike as rl
from tests.oracles import networks

GRID = rl.TimeGrid(1e-3, 12)
KEY = jax.random.key(0)
DRIVE = 4e-3 * jax.random.normal(KEY, (GRID.num_steps, 2))


def relay(neuron):
    return networks.relay(neuron, 70)


def outputs(network, dynamics=None, drive=DRIVE):
    dynamics = rl.GeneralisedRate() if dynamics is None else dynamics
    return rl.simulate(network, drive, GRID, dynamics, key=KEY).outputs


class Square(rl.extend.AbstractEscape):
    def __call__(self, potential: Array) -> Array:
        return 30.0 * jnp.clip(potential, 0.0, 1e3) ** 2


class Root(rl.extend.AbstractInvertibleEscape):
    """f(u) = u + sqrt(u^2 + 1), whose inverse is (f - 1/f) / 2."""

    def __call__(self, potential: Array) -> Array:
        return potential + jnp.hypot(potential, 1.0)

    def acting(self, start: Array, end: Array) -> Array:
        mean = 0.5 * (self(start) + self(end))
        return 0.5 * (mean - 1.0 / mean)


class Exponential(rl.extend.AbstractSeparableEscape):
    """`rl.ExponentialEscape()`."""

    def __call__(self, potential: Array) -> Array:
        return 10.0 * self.ratio(potential)

    def ratio(self, offset: Array) -> Array:
        return jnp.exp(jnp.clip(offset, -80.0, 20.0))

    def acting(self, start: Array, end: Array) -> Array:
        return 0.5 * (start + end) + jnp.log(jnp.cosh(0.5 * (end - start)))


class Linear(rl.extend.AbstractRefractory):
    dead_time: Array
    memory: float = eqx.field(static=True)
    shortest_dead_time: float = eqx.field(static=True)

    def __call__(self, age: Array) -> Array:
        return -5.0 * jnp.maximum(1.0 - age / self.memory, 0.0)


class Reset(rl.extend.AbstractNeuron):
    """`rl.SRM0()`, written as one class."""

    tau_m: Array
    dead_time: Array
    shortest_dead_time: float = eqx.field(static=True)
    memory: float = eqx.field(static=True)

    def mark(self, potential: Array) -> PyTree:
        return None

    def hazard(self, potential: Array, age: Array, mark: PyTree) -> Array:
        return 10.0 * jnp.exp(potential - 5.0 * jnp.exp(-age / 20e-3))


class Recovering(rl.extend.AbstractSeparableNeuron):
    """The same, with both factors of its hazard."""

    tau_m: Array
    dead_time: Array
    shortest_dead_time: float = eqx.field(static=True)
    memory: float = eqx.field(static=True)

    def escape_rate(self, potential: Array) -> Array:
        return 10.0 * jnp.exp(potential)

    def ratio(self, age: Array) -> Array:
        return jnp.exp(-5.0 * jnp.exp(-age / 20e-3))

    def successive_ratios(self, ages, step: float) -> list[Array]:
        return [self.ratio(age) for age in ages]


class Choosing(rl.extend.AbstractRenewalNeuron):
    """The same, of which one says whether it separates them."""

    tau_m: Array
    dead_time: Array
    shortest_dead_time: float = eqx.field(static=True)
    memory: float = eqx.field(static=True)
    separates: bool = eqx.field(static=True)

    def mark(self, potential: Array) -> PyTree:
        return None

    def hazard(self, potential: Array, age: Array, mark: PyTree) -> Array:
        return self._rate(potential) * self._ratio(age)

    def separate(self) -> rl.extend.Factors | None:
        return rl.extend.Factors(self._rate, self._ratio) if self.separates else None

    def successive_hazards(self, ends, potentials, ages, marks, dt):
        steps = zip(potentials, ages, strict=True)
        return [self._rate(h) * self._ratio(age) for h, age in steps]

    def _rate(self, potential: Array) -> Array:
        return 10.0 * jnp.exp(potential)

    def _ratio(self, age: Array) -> Array:
        return jnp.exp(-5.0 * jnp.exp(-age / 20e-3))


class Wrapped(rl.extend.AbstractNeuronModel):
    """All that another neuron is."""

    inner: rl.extend.AbstractNeuronModel
    is_renewal: ClassVar[bool] = True
    can_spike: ClassVar[bool] = True

    tau_m = property(lambda self: self.inner.tau_m)
    dead_time = property(lambda self: self.inner.dead_time)
    shortest_dead_time = property(lambda self: self.inner.shortest_dead_time)
    memory = property(lambda self: self.inner.memory)
    escape = property(lambda self: self.inner.escape)
    expected = property(lambda self: self)
    types = property(lambda self: {"": self})

    def mark(self, *args):
        return self.inner.mark(*args)

    def hazard(self, *args):
        return self.inner.hazard(*args)

    def successive_hazards(self, *args):
        return self.inner.successive_hazards(*args)

    def separate(self):
        return self.inner.separate()

    def faded(self, *args):
        return self.inner.faded(*args)

    def mark_after_spike(self, *args):
        return self.inner.mark_after_spike(*args)

    def initial_trace(self, *args):
        return self.inner.initial_trace(*args)

    def newborn(self, *args):
        return self.inner.newborn(*args)

    def stationary_mark(self, *args):
        return self.inner.stationary_mark(*args)

    def select(self, values):
        return self.inner.select(values)


class Falling(rl.extend.AbstractRecursiveRefractory):
    """`rl.ExponentialRefractory()`, from one age to the next."""

    dead_time: Array
    memory: float = eqx.field(static=True)
    shortest_dead_time: float = eqx.field(static=True)

    def __call__(self, age: Array) -> Array:
        return -5.0 * jnp.exp(-jnp.minimum(age, self.memory) / 20e-3)

    def at_successive_ages(self, ages, step: float) -> list[Array]:
        eta, least = [self(ages[0])], self(jnp.full_like(ages[0], self.memory))
        while len(eta) < len(ages):
            eta.append(jnp.minimum(eta[-1] * jnp.exp(-step / 20e-3), least))
        return eta


class MeanOnly(rl.extend.AbstractClosure):
    """`rl.MeanTrace()`."""

    def orders(self, strengths):
        return (1,) * len(strengths)

    def terms(self, adaptation, width, orders):
        return tuple(rl.extend.Term(-a.amplitude, a.tau) for a in adaptation)


class Signs(rl.extend.AbstractConnectivity):
    num_latents: int = eqx.field(static=True)
    num_latents_out: int = eqx.field(static=True)

    def __call__(self, tile_key: Array) -> tuple[Array, Array, Array]:
        shape = (rl.extend.TILE, self.num_latents)
        encoder = jax.random.rademacher(tile_key, shape, jnp.float64)
        return encoder, 0.1 * encoder, jnp.ones(())


class Corners(rl.extend.AbstractNodes):
    """The four points (+-1, +-1): a rule of degree 3 for two latents."""

    def __call__(self, num_latents: int, num_parameters: int, layer: int):
        assert num_parameters == 0
        axes = np.meshgrid(*[[-1.0, 1.0]] * num_latents)
        points = np.stack(axes, axis=-1).reshape(-1, num_latents)
        return points, np.full(len(points), 1.0 / len(points))


class Constant(rl.extend.AbstractDrive):
    def increments(self, grid: rl.TimeGrid) -> Array:
        return jnp.full((grid.num_steps, 2), 0.5 * grid.dt)


class Nearest(rl.extend.AbstractInterpolation):
    """The sample that is nearest to the middle of the interval."""

    def share(self, times, sample, begin, end) -> rl.extend.Share:
        nearest = np.abs(0.5 * (begin + end)[:, None] - times[:-1]).argmin(axis=1)
        return rl.extend.Share(nearest[:, None], (end - begin)[:, None])


class Poisson(rl.extend.AbstractDynamics):
    """The expected activity of neurons that forget even their potential: r = 10 Hz (1 + dI/dt)."""

    needs_key: ClassVar[bool] = False

    def neurons_at_once(self, neuron, grid):
        return None

    def check(self, name, layer, grid):
        pass

    def __call__(self, population, path, grid, *, tile_keys, recorded):
        dX = rl.extend.grid_increments(path, grid, population.bias.dtype)
        activity = 10.0 * (grid.dt + population.currents(dX))
        decoded = population.decode(activity)
        succeeded = jnp.isfinite(decoded.latents).all()
        return rl.extend.LayerOutput(decoded, None, None, succeeded)


class CountedState(rl.extend.AbstractLayerState):
    neurons: jax.Array
    shared: jax.Array  # steps that have been


class CountingPoisson(rl.extend.AbstractContinuingDynamics):
    """`Poisson` that knows how many steps it has run."""

    needs_key: ClassVar[bool] = False

    def neurons_at_once(self, neuron, grid):
        return None

    def check(self, name, layer, grid):
        pass

    def check_state(self, name, state, layer, grid):
        if not isinstance(state, (CountedState, type(None))):
            raise ValueError(f"initial must be a CountedState for {name}")

    def __call__(self, population, path, grid, *, tile_keys, recorded):
        return Poisson()(population, path, grid, tile_keys=tile_keys, recorded=recorded)

    def run_piece(self, population, path, grid, *, tile_keys, recorded, initial):
        output = self(population, path, grid, tile_keys=tile_keys, recorded=recorded)
        before = jnp.int32(0) if initial is None else initial.shared
        final = CountedState(population.bias, before + grid.num_steps)
        return dataclasses.replace(output, final=final)


class Halved(rl.extend.AbstractSynapse):
    """Half of the signal at once, and half of it a step later."""

    @property
    def num_latents(self):
        return None

    def check(self, name, dt):
        pass

    def initial(self, shape, dtype, dt):
        return jnp.zeros(shape, dtype)

    def settled(self, signal, dt):
        return signal * dt

    def __call__(self, state, increments, dt):
        before = jnp.concatenate([state[None], increments[:-1]])
        return increments[-1], 0.5 * (increments + before)

    def transfer(self, angular_frequency):
        return 0.5 * (1.0 + jnp.exp(-1e-3j * angular_frequency))


class Definition(rl.extend.AbstractStationaryRate):
    """`rl.DirectRate()`."""

    def prepare(self, neuron, dt, dtype):
        return lambda potential: rl.stationary_rate(neuron, potential, dt)


class Silent(rl.extend.AbstractEstimator):
    """A derivative of zero."""

    fewest_trials: ClassVar[int] = 1
    allows_feedback: ClassVar[bool] = True
    keeps_spikes: ClassVar[bool] = False

    def __call__(self, sample, population, increments, grid, recorded):
        return sample(*jax.lax.stop_gradient((population, increments)), recorded)

    def mean_loss(self, trial, keys):
        return jnp.mean(jax.vmap(lambda key: trial(self, key))(keys).loss)


class Above(rl.extend.AbstractDomain):
    """Numbers above 1: 1 + (start - 1) exp(x)."""

    trained: PyTree

    def check(self, name: str, start: Array) -> None:
        if not bool(jnp.all(start > 1.0)):
            raise ValueError(f"{name} must be above 1, got {start}")

    def initial(self, start: Array) -> Array:
        return jnp.zeros_like(start)

    def value(self, start: Array, x: Array) -> Array:
        return 1.0 + (start - 1.0) * jnp.exp(x)


class Whole(rl.extend.AbstractLayer):
    """A layer with the connections of another."""

    inner: rl.Layer

    @property
    def neuron(self):
        return self.inner.neuron

    @property
    def feedback(self):
        return None

    @property
    def synapse(self):
        return None

    @property
    def node_weights(self):
        return None

    @property
    def num_neurons(self) -> int:
        return self.inner.num_neurons

    @property
    def num_latents(self) -> int:
        return self.inner.num_latents

    @property
    def num_latents_out(self) -> int:
        return self.inner.num_latents_out

    @property
    def dtype(self):
        return self.inner.dtype

    def stored(self) -> rl.Layer:
        return self.inner

    def population(self, first_tile=None, num_tiles=None) -> rl.extend.Population:
        return self.inner.population(first_tile, num_tiles)


def test_every_abstract_class_is_implemented_here():
    missing = {
        name
        for name in rl.extend.__all__
        if inspect.isabstract(value := getattr(rl.extend, name))
        and not any(each.__module__ == __name__ for each in value.__subclasses__())
    }
    assert not missing


@pytest.mark.parametrize("escape", [Square(), Root(), Exponential()])
def test_an_escape_rate(escape):
    assert jnp.isfinite(outputs(relay(rl.SRM0(escape=escape)))).all()


def test_a_separable_escape_rate_and_a_neuron_are_the_librarys_own():
    theirs = outputs(relay(rl.SRM0()))
    own = outputs(relay(rl.SRM0(escape=Exponential())))
    np.testing.assert_allclose(own, theirs, rtol=1e-9)
    # The potential of a step is that of a general hazard: of third order in the change within a step.
    reset = Reset(jnp.asarray(10e-3), jnp.asarray(2e-3), 2e-3, 100e-3)
    np.testing.assert_allclose(outputs(relay(reset)), theirs, atol=1e-2)


@pytest.mark.parametrize("neuron", [Recovering, Choosing])
def test_neurons_of_two_factors(neuron):
    """Both ways to the hazard; that of f(hs) needs no hs, which the other one approximates."""
    numbers = jnp.asarray(10e-3), jnp.asarray(2e-3), 2e-3, 100e-3
    theirs = outputs(relay(rl.SRM0()))
    kinds = [(True,), (False,)] if neuron is Choosing else [()]
    for kind in kinds:
        own = outputs(relay(neuron(*numbers, *kind)))
        np.testing.assert_allclose(own, theirs, atol=1e-2)
        if kind != (False,):
            np.testing.assert_allclose(own, theirs, rtol=1e-9)
        assert jnp.isfinite(outputs(relay(neuron(*numbers, *kind)), rl.Spiking())).all()


def test_a_neuron_model():
    for dynamics in (rl.Spiking(), rl.GeneralisedRate(), rl.ConventionalRate()):
        own, theirs = (
            outputs(relay(neuron), dynamics)
            for neuron in (Wrapped(rl.SRM0()), rl.SRM0())
        )
        np.testing.assert_array_equal(own, theirs)


def test_kernels():
    kernel = Linear(jnp.asarray(2e-3), 40e-3, 2e-3)
    assert jnp.isfinite(outputs(relay(rl.SRM0(refractory=kernel)))).all()
    kernel = Falling(jnp.asarray(2e-3), 100e-3, 2e-3)
    own, theirs = (
        outputs(relay(neuron), rl.Spiking())
        for neuron in (rl.SRM0(refractory=kernel), rl.SRM0())
    )
    np.testing.assert_allclose(own, theirs, rtol=1e-9)


def test_a_closure():
    own, theirs = (
        outputs(relay(rl.AdaptiveSRM(closure=closure)))
        for closure in (MeanOnly(), rl.MeanTrace())
    )
    np.testing.assert_array_equal(own, theirs)


def test_connections_and_a_layer():
    neuron = rl.SRM0()
    streamed = rl.StreamedLayer(neuron, Signs(2, 2), num_neurons=70, key=KEY)
    stored = streamed.stored()
    theirs = outputs(rl.Network([stored]))
    np.testing.assert_array_equal(outputs(rl.Network([streamed])), theirs)
    np.testing.assert_array_equal(outputs(rl.Network([Whole(stored)])), theirs)


def test_nodes():
    """The rule of two points in each dimension, under another name."""
    own, theirs = (
        rl.infinite_relay_network(rl.SRM0(), num_latents=2, depth=1, nodes=nodes)
        for nodes in (Corners(), rl.GaussHermite(2))
    )
    np.testing.assert_allclose(outputs(own), outputs(theirs), rtol=1e-9)


def test_a_drive():
    network = relay(rl.SRM0())
    theirs = outputs(network, drive=Constant().increments(GRID))
    np.testing.assert_array_equal(outputs(network, drive=Constant()), theirs)


def test_an_interpolation():
    """Samples every 4 steps: a step belongs to the one that is nearest to its middle."""
    drive = rl.SignalDrive(np.arange(3.0), dt=4e-3, interpolation=Nearest())
    x = drive.increments(GRID)[:, 0] / GRID.dt
    np.testing.assert_allclose(x, [0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2], rtol=1e-12)


def test_a_dynamics():
    layer = relay(rl.SRM0()).layers[0]
    trajectory = rl.simulate(rl.Network([layer]), Constant(), GRID, Poisson())
    currents = Constant().increments(GRID) @ layer.encoder.T
    rates = 10.0 * (1.0 + currents / GRID.dt).mean(axis=1)
    np.testing.assert_allclose(trajectory.rates[0], rates, rtol=1e-9)


def test_a_stationary_rate():
    network = relay(rl.SRM0(refractory=rl.NoRefractory()))
    own, theirs = (
        outputs(network, rl.ConventionalRate(rate))
        for rate in (Definition(), rl.DirectRate())
    )
    np.testing.assert_array_equal(own, theirs)


def test_an_estimator():
    network = relay(rl.SRM0())

    def loss(network):
        spiking = rl.Spiking(Silent())
        return rl.train.sampled_loss(
            network,
            lambda _, trajectory: jnp.mean(trajectory.outputs**2),
            DRIVE,
            GRID,
            spiking,
            key=KEY,
            num_trials=2,
        )

    value, slopes = eqx.filter_value_and_grad(loss)(network)
    assert value > 0.0
    assert not slopes.layers[0].encoder.any()


def test_a_domain():
    network = relay(rl.SRM0(refractory=rl.ExponentialRefractory(amplitude=1.5)))

    def amplitude(network):
        return network.layers[0].neuron.refractory.amplitude

    fitted, _ = rl.fit(
        network,
        lambda network, key: (amplitude(network) - 0.5) ** 2,
        where=lambda network: Above(amplitude(network)),
        optimiser=optax.sgd(1.0),
        num_steps=20,
        key=KEY,
    )
    assert 1.0 < amplitude(fitted) < 1.5


def test_a_dynamics_that_goes_on_and_a_synapse():
    network = relay(rl.SRM0())
    halved = eqx.tree_at(
        lambda n: n.layers[0].synapse, network, Halved(), is_leaf=lambda x: x is None
    )
    grid, nothing = rl.TimeGrid(1e-3, 3), CountingPoisson()
    increments = np.zeros((6, network.layers[0].num_latents), np.float32)
    increments[1] = 1e-3
    whole = rl.simulate(halved, increments, rl.TimeGrid(1e-3, 6), nothing)
    first = rl.simulate(halved, increments[:3], grid, nothing, keep_final=True)
    second = rl.simulate(
        halved, increments[3:], grid, nothing, initial=first.final, keep_final=True
    )
    outputs = np.concatenate([first.outputs, second.outputs])
    np.testing.assert_array_equal(outputs, whole.outputs)
    assert int(second.final.layers[0].shared) == 6
    smoothed = 0.5 * (increments + np.roll(increments, 1, axis=0))
    plain = rl.simulate(network, smoothed, rl.TimeGrid(1e-3, 6), nothing)
    np.testing.assert_allclose(whole.outputs, plain.outputs, rtol=1e-6)
