"""Bad input gives a `ValueError` that names the argument and the value before anything compiles; odd input passes."""

import re
from functools import partial

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl

NAN, INF = float("nan"), float("inf")
KEY, RAW_KEY = jax.random.key(0), jax.random.PRNGKey(0)
NEURON, GRID, EYE = rl.SRM0(), rl.TimeGrid(1e-3, 4), np.eye(2)
LAYER = rl.Layer(NEURON, EYE, EYE)
NETWORK, INCREMENTS = rl.Network([LAYER]), np.zeros((4, 2))
DYNAMICS = (rl.Spiking(), rl.GeneralisedRate(), rl.ConventionalRate())
SIZES = dict(num_neurons=2, num_latents=2, depth=1, key=KEY)

relay = partial(rl.relay_network, NEURON, **SIZES)
layer, drive = partial(rl.Layer, NEURON), partial(rl.WienerDrive, key=KEY)
method_of_lines = partial(rl.GeneralisedRate, diffrax.Heun())
curve = rl.ErrorCurve((2, 4), (np.ones(2), np.ones(2)))
error = partial(rl.mean_absolute_error, INCREMENTS, INCREMENTS)


def make_network(num_neurons, key):
    return relay(num_neurons=num_neurons, key=key)


SIMULATION = dict(network=NETWORK, increments=INCREMENTS, grid=GRID)
simulate = partial(rl.simulate, **SIMULATION, dynamics=rl.GeneralisedRate())
spiking = partial(rl.simulate, **SIMULATION, dynamics=rl.Spiking())
STUDY = dict(sizes=[2, 4], grid=GRID, trials=1, key=KEY, make_network=make_network)
study = partial(rl.convergence, **STUDY)


def refused(message, call):
    """`message` is what the error has to say, with dots for what does not matter."""
    pattern = "(?s)" + ".*".join(re.escape(part) for part in message.split(" ... "))
    with pytest.raises(ValueError, match=pattern):
        call()


def table(cases):
    return pytest.mark.parametrize(("message", "case"), cases.items(), ids=list(cases))


@pytest.fixture
def compile_nothing(monkeypatch):
    def fail(*args):
        raise AssertionError("compiled")

    monkeypatch.setattr("ratelike._simulate._simulate", fail)
    monkeypatch.setattr("ratelike._convergence._run", fail)


nothing_compiles = pytest.mark.usefixtures("compile_nothing")

# Bad values, and what the message says of them.
BAD = [(NAN, "got nan"), (INF, "got inf"), (-INF, "got -inf"), ("1.0", "got '1.0'")]
NONE = [(None, "got None")]
ARRAY = [([], "shape (0,)"), ([1.0, NAN], "got nan at index (1,)"), *NONE]
ONE = [([1.0, 2.0], "got shape (2,)"), ([1.0, None], "got [1.0, None]")]
NEGATIVE = [(-1.0, "got -1.0")]
ZERO = [(0.0, "got 0.0"), *NEGATIVE]
POSITIVE = ONE + ZERO + NONE
LEVEL = [(1.0, "got 1.0"), *POSITIVE]
COUNT = [(1.5, "got 1.5"), (True, "got True"), (np.True_, "got np.True_"), *NONE]
SIZE = COUNT + ZERO
# fmt: off
NUMBERS = [
    (rl.ExponentialEscape, "ExponentialEscape.", dict(rate=ARRAY + ZERO, threshold=ARRAY, width=ARRAY + ZERO)),
    (rl.ExponentialRefractory, "ExponentialRefractory.", dict(amplitude=ARRAY, tau=ARRAY + ZERO)),
    (rl.ExponentialRefractory, "ExponentialRefractory.", dict(dead_time=ARRAY + NEGATIVE, memory=ONE + NEGATIVE + NONE)),
    (rl.SigmoidEscape, "SigmoidEscape.", dict(rate=ARRAY + ZERO, threshold=ARRAY, width=ARRAY + ZERO)),
    (rl.SoftplusEscape, "SoftplusEscape.", dict(rate=ARRAY + ZERO, threshold=ARRAY, width=ARRAY + ZERO)),
    (rl.PowerLawRefractory, "PowerLawRefractory.", dict(amplitude=ARRAY, tau=ARRAY + ZERO, exponent=ARRAY + ZERO)),
    (rl.PowerLawRefractory, "PowerLawRefractory.", dict(dead_time=ARRAY + NEGATIVE, memory=ONE + NEGATIVE + NONE)),
    (rl.AlphaRefractory, "AlphaRefractory.", dict(amplitude=ARRAY, tau=ARRAY + ZERO)),
    (rl.AlphaRefractory, "AlphaRefractory.", dict(dead_time=ARRAY + NEGATIVE, memory=ONE + NEGATIVE + NONE)),
    (partial(rl.TableRefractory, age_step=1e-3), "TableRefractory.", dict(values=ARRAY)),
    (partial(rl.TableRefractory, [1.0], 1e-3), "TableRefractory.", dict(dead_time=ARRAY + NEGATIVE)),
    (partial(rl.TableRefractory, [1.0]), "TableRefractory.", dict(age_step=POSITIVE)),
    (rl.SRM0, "SRM0.", dict(tau_m=ARRAY + ZERO)),
    (rl.LIF, "LIF.", dict(tau_m=ARRAY + ZERO, v_reset=ARRAY, dead_time=ARRAY + NEGATIVE, memory=ONE + ZERO)),
    (partial(layer, EYE, EYE), "Layer.", dict(bias=ARRAY)),
    (partial(rl.Network, [LAYER]), "Network.", dict(output_tau_m=ONE + ZERO)),
    (relay, "", dict(gain=POSITIVE, bias=ARRAY, num_neurons=SIZE, num_latents=SIZE, depth=SIZE)),
    (partial(rl.TimeGrid, num_steps=1), "TimeGrid.", dict(dt=POSITIVE)),
    (partial(rl.TimeGrid, 1e-3), "TimeGrid.", dict(num_steps=SIZE)),
    (partial(drive, 2), "WienerDrive.", dict(tau_m=POSITIVE, resolution=POSITIVE)),
    (drive, "WienerDrive.", dict(num_latents=SIZE)),
    (method_of_lines, "GeneralisedRate.", dict(age_step=ONE + ZERO, max_steps=SIZE)),
    (rl.ChebyshevGain, "ChebyshevGain.", dict(num_cells=[(3, "got 3"), *COUNT])),
    (study, "", dict(trials=SIZE, burn_in=COUNT + NEGATIVE)),
    (lambda sizes: study(sizes=[4, sizes]), "", dict(sizes=SIZE)),
    (curve.slope, "", dict(level=LEVEL, resamples=SIZE)),
    (curve.confidence_interval, "", dict(level=LEVEL)),
    (error, "", dict(burn_in=COUNT + NEGATIVE)),
]
NUMBERS = [(call, owner, *item) for call, owner, items in NUMBERS for item in items.items()]


@nothing_compiles
@pytest.mark.parametrize(("call", "owner", "name", "bad"), NUMBERS, ids=[row[1] + row[2] for row in NUMBERS])
def test_a_number_that_makes_no_sense(call, owner, name, bad):
    for value, got in BAD + bad:
        refused(f"{owner}{name} must ... {got}", partial(call, **{name: value}))


@nothing_compiles
@pytest.mark.parametrize("call", [relay, partial(drive, 2), study, spiking], ids=["relay", "drive", "convergence", "simulate"])
def test_a_key_is_one_typed_key(call):
    refused("key must ... got None", lambda: call(key=None))
    refused("key must ... uint32", lambda: call(key=RAW_KEY))
    refused("key must ... shape (2,)", lambda: call(key=jax.random.split(KEY)))


# Tables: what the message says, and what was done.
@table({
    "ExponentialRefractory.memory ... 0.005 s, got 0.004 s": lambda: rl.ExponentialRefractory(dead_time=[2e-3, 5e-3], memory=4e-3),
    "SRM0.escape ... got 2.0": lambda: rl.SRM0(escape=2.0),
    "SRM0.refractory ... got <class": lambda: rl.SRM0(refractory=rl.NoRefractory),
    "LIF.escape ... got 2.0": lambda: rl.LIF(escape=2.0),
    "LIF.memory ... 0.005 s, got 0.004 s": lambda: rl.LIF(dead_time=[2e-3, 5e-3], memory=4e-3),
    "LIF.memory must ... traced": lambda: jax.jit(lambda tau_m: rl.LIF(tau_m).tau_m)(1e-3),
    "PowerLawRefractory.memory ... 0.005 s, got 0.004 s": lambda: rl.PowerLawRefractory(dead_time=5e-3, memory=4e-3),
    "AlphaRefractory.memory ... 0.005 s, got 0.004 s": lambda: rl.AlphaRefractory(dead_time=5e-3, memory=4e-3),
    "TableRefractory.values ... (ages,) ... ()": lambda: rl.TableRefractory(1.0, 1e-3),
    "SumRefractory.kernels ... none": lambda: rl.SumRefractory([]),
    "SumRefractory.kernels must ... NoRefractory(": lambda: rl.SumRefractory(rl.NoRefractory()),
    "SumRefractory.kernels[1] ... got 1.0": lambda: rl.SumRefractory([rl.NoRefractory(), 1.0]),
    "Mixture.neurons ... none": lambda: rl.Mixture([], [0]),
    "Mixture.neurons must ... SRM0(": lambda: rl.Mixture(NEURON, [0]),
    "Mixture.neurons[1] ... got <class": lambda: rl.Mixture([NEURON, rl.LIF], [0, 1]),
    "Mixture.kind ... (neurons) ... ()": lambda: rl.Mixture([NEURON], 0),
    "Mixture.kind ... empty": lambda: rl.Mixture([NEURON], []),
    "Mixture.kind ... whole numbers ... float64": lambda: rl.Mixture([NEURON], [0.0]),
    "Mixture.kind ... whole numbers ... bool": lambda: rl.Mixture([NEURON], [True]),
    "Mixture.kind ... from 0 to 1, got 2": lambda: rl.Mixture([NEURON, NEURON], [0, 2]),
    "Mixture.kind ... from 0 to 0, got -1": lambda: rl.Mixture([NEURON], [-1, 0]),
    "Mixture.kind ... whole numbers, got an array": lambda: jax.jit(lambda k: rl.Mixture([NEURON], k).kind)(np.zeros(2)),
    "neuron.kind must ... (2,) ... (3,)": lambda: rl.relay_network(rl.Mixture([NEURON], [0] * 3), **SIZES),
    "TimeGrid.dt must ... traced": lambda: jax.jit(lambda dt: rl.TimeGrid(dt, 1).times)(1e-3),
    "TimeGrid.num_steps must ... Tracer": lambda: jax.jit(lambda steps: rl.TimeGrid(1e-3, steps).times)(1),
    "TimeGrid.dt ... resolution = 0.001 ... got 0.001": lambda: drive(2, resolution=1e-3).increments(GRID),
    "Layer.neuron ... got <class": lambda: rl.Layer(rl.SRM0, EYE, EYE),
    "Layer.encoder ... (neurons, latents) ... (2,)": lambda: layer([1.0, 2.0], EYE),
    "Layer.encoder ... (0, 2)": lambda: layer(np.ones((0, 2)), np.ones((0, 2))),
    "Layer.encoder ... got nan at index (1, 0)": lambda: layer([[1.0], [NAN]], EYE),
    "Layer.decoder ... got inf at index (0, 0)": lambda: layer(EYE, [[INF], [1.0]]),
    "Layer.decoder ... (2, latents) ... (3, 2)": lambda: layer(EYE, np.ones((3, 2))),
    "Layer.bias ... (2) ... (3,)": lambda: layer(EYE, EYE, np.ones(3)),
    "Network.layers ... none": lambda: rl.Network([]),
    "Network.layers must ... Layer(": lambda: rl.Network(LAYER),
    "Network.layers[1] ... Layer ... SRM0(": lambda: rl.Network([LAYER, NEURON]),
    "Network.layers[1].encoder ... 2 latents ... got 3": lambda: rl.Network([LAYER, layer(np.ones((2, 3)), EYE)]),
    "neuron must ... got <class": lambda: rl.relay_network(rl.SRM0, **SIZES),
    "neuron.tau_m must ... (2,) ... (3,)": lambda: rl.relay_network(rl.SRM0([0.01] * 3), **SIZES),
    "bias must ... (2) ... (3,)": lambda: relay(bias=np.ones(3)),
    "GeneralisedRate.solver ... got <class": lambda: rl.GeneralisedRate(diffrax.Heun),
    "enough_trials ... at least 1 ... got 0": lambda: study(enough_trials=0),
    "GeneralisedRate.age_step ... AgeShift ... got 0.001": lambda: rl.GeneralisedRate(age_step=1e-3),
    "GeneralisedRate.stepsize_controller ... got Const": lambda: rl.GeneralisedRate(stepsize_controller=diffrax.ConstantStepSize()),
    "GeneralisedRate.saveat ... dense": lambda: rl.GeneralisedRate(saveat=diffrax.SaveAt(dense=True)),
    "GeneralisedRate.saveat ... steps": lambda: method_of_lines(diffrax.PIDController(1e-3, 1e-3), saveat=diffrax.SaveAt(steps=True)),
    "ConventionalRate.gain ... got <class": lambda: rl.ConventionalRate(rl.DirectGain),
    "min_size ... (2, 4), got 3": lambda: curve.slope(3),
    "min_size ... got 'all'": lambda: curve.slope("all"),
    "reference ... (4, 2) ... (3, 2)": lambda: rl.mean_absolute_error(INCREMENTS, INCREMENTS[:3]),
    "outputs ... time, latents) ... (4,)": lambda: rl.mean_absolute_error(np.zeros(4), np.zeros(4)),
    "burn_in ... number of steps, 4, got 4": lambda: error(burn_in=4),
})
def test_what_does_not_fit(message, case):
    refused(message, case)


def edited(where, value):
    return dict(network=eqx.tree_at(where, NETWORK, value))


def with_neuron(*args, **kwargs):
    return with_neuron_of(rl.ExponentialRefractory(*args, **kwargs))


def with_neuron_of(refractory):
    neuron = rl.SRM0(refractory=refractory)
    return dict(network=rl.Network([LAYER, rl.Layer(neuron, EYE, EYE)]))


def with_types(*neurons):
    return dict(network=rl.Network([rl.Layer(rl.Mixture(neurons, [0, 1]), EYE, EYE)]))


def dead_time(network):
    return network.layers[0].neuron.refractory.dead_time


def linear_path(start, end, values):
    return dict(increments=diffrax.LinearInterpolation(np.array([start, end]), values))


@nothing_compiles
@table({
    "network must ... Network, got Layer(": dict(network=LAYER),
    "grid must ... TimeGrid, got 0.001": dict(grid=1e-3),
    "dynamics must ... instance ... got <class": dict(dynamics=rl.Spiking),
    "key must ... uint32": dict(key=RAW_KEY),  # also for rates
    "increments must ... (4, 2), got shape (3, 2)": dict(increments=np.zeros((3, 2))),
    "increments must ... (4, 2), got shape (4, 1)": dict(increments=np.zeros((4, 1))),
    "increments must ... (4, 2), got shape (4,)": dict(increments=np.zeros(4)),
    "increments must ... (4, 2), got shape (4, 3)": dict(increments=drive(3)),
    "increments must ... got nan at index (1, 0)": dict(increments=[[0.0, 0.0], [NAN, 0.0]]),
    "increments must ... got nan at index (0, 0)": dict(increments=jnp.full((4, 2), NAN)),
    "increments must be numeric, got None": dict(increments=None),
    "increments must be numeric, got <class": dict(increments=rl.WienerDrive),
    "increments must cover ... 0.004 s, got 0 to 0.003 s": linear_path(0.0, 3e-3, EYE),
    "increments must cover ... 0.004 s, got 0.001 to 1 s": linear_path(1e-3, 1.0, EYE),
    "increments must have 2 latents ... (3,)": linear_path(0.0, 1.0, np.ones((2, 3))),
    "increments.ys must ... got nan": linear_path(0.0, 1.0, NAN * EYE),
    "network.layers[0].neuron.tau_m must be finite, got nan": edited(lambda n: n.layers[0].neuron.tau_m, NAN),
    "network.layers[0].neuron.tau_m must be an array ... got 0.01": edited(lambda n: n.layers[0].neuron.tau_m, 0.01),
    "network.layers[1].neuron.refractory.amplitude ... (2,), got shape (3,)": with_neuron([1.0, 2.0, 3.0]),
    "network.layers[1].neuron.refractory.tau ... (2,), got shape (1,)": with_neuron(tau=[1e-3]),
    "record must name layers from 0 to 0, got 1": dict(record={1: [0]}),
    "record must name layers from 0 to 0, got -1": dict(record={-1: [0]}),
    "record must name layers from 0 to 0, got 0.0": dict(record={0.0: [0]}),
    "record must ... Mapping, got [0]": dict(record=[0]),
    "record[0] ... from 0 to 1, got [0, 2]": dict(record={0: [0, 2]}),
    "record[0] ... from 0 to 1, got [-1]": dict(record={0: [-1]}),
    "record[0] ... from 0 to 1, got [0.5]": dict(record={0: [0.5]}),
    "record[0] ... from 0 to 1, got []": dict(record={0: []}),
    # Dead times
    "layers[0].neuron.dead_time ... dt = 0.0003 s, got 0.002 s": dict(grid=rl.TimeGrid(0.3e-3, 4)),
    "layers[1].neuron.dead_time ... dt = 0.001 s, got 0.0025 s": with_neuron(dead_time=[2e-3, 2.5e-3]),
    "neuron.neurons[1].dead_time ... dt = 0.001 s, got 0.0025 s": with_types(NEURON, rl.LIF(dead_time=2.5e-3)),
    "neuron.neurons[0].v_reset ... (2,), got shape (3,)": with_types(rl.LIF(v_reset=[1.0, 2.0, 3.0]), NEURON),
    "refractory.values[0] ... (2,), got shape (3,)": with_neuron_of(rl.TableRefractory(np.ones((4, 3)), 1e-3)),
    "layers[0].neuron.dead_time ... at least ... 0.002 s, got 0.001 s": edited(dead_time, jnp.asarray(1e-3)),
    "layers[0].neuron.dead_time ... at most ... 0.1 s, got 0.2 s": edited(dead_time, jnp.asarray(0.2)),
})
def test_simulate_refuses(message, case):
    for dynamics in DYNAMICS:
        arguments = dict(dynamics=dynamics, key=KEY) | case
        refused(message, partial(simulate, **arguments))


@nothing_compiles
def test_a_nan_anywhere_in_the_network():
    leaves, structure = jax.tree.flatten(NETWORK)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(NETWORK)]
    for i, path in enumerate(paths):
        broken = [*leaves[:i], leaves[i] * NAN, *leaves[i + 1 :]]
        network = jax.tree.unflatten(structure, broken)
        make = partial(lambda network, size, key: network, network)
        refused(f"network{path} must be finite, got nan", partial(simulate, network=network))
        refused(f"network{path} must be finite, got nan", partial(study, make_network=make, sizes=[2]))


@nothing_compiles
@table({
    "sizes ... none": dict(sizes=[]),
    "sizes must ... got 4": dict(sizes=4),
    "sizes must differ ... (4, 2, 4)": dict(sizes=[4, 2, 4]),
    "budget ... largest size, 4, got 3": dict(budget=3),
    "budget ... got 4.5": dict(budget=4.5),
    "grid ... TimeGrid, got 0.001": dict(grid=1e-3),
    "burn_in ... number of steps, 4, got 4": dict(burn_in=4),
    "generalised ... got <class": dict(generalised=rl.GeneralisedRate),
    "conventional must ... got 1.0": dict(conventional=1.0),
    "make_network must return a ratelike.Network, got Layer(": dict(make_network=lambda n, key: LAYER),
    "make_network must ... 3 neurons ... got 2 in layer 0": dict(sizes=[3], make_network=lambda n, key: NETWORK),
    "neuron.dead_time ... dt = 0.0003 s, got 0.002 s": dict(grid=rl.TimeGrid(0.3e-3, 9)),
})
def test_convergence_refuses(message, case):
    refused(message, lambda: study(**case))
# fmt: on


@nothing_compiles
def test_sensible_input_reaches_the_compiler():
    for dynamics, key in zip(DYNAMICS, (KEY, None, None), strict=True):
        with pytest.raises(AssertionError, match="compiled"):
            simulate(dynamics=dynamics, key=key)
    with pytest.raises(AssertionError, match="compiled"):
        study()


def one_layer(tau_m, escape, refractory, ones=EYE):
    return rl.Network([rl.Layer(rl.SRM0(tau_m, escape, refractory), ones, ones, 1)])


escape, refractory, float32 = (
    rl.ExponentialEscape,
    rl.ExponentialRefractory,
    jnp.float32,
)
ODD = {
    "ints and arrays": lambda: one_layer(
        1, escape(9, [0, 1], 1), refractory(5, [1.0, 2.0], np.full(2, 2), 2)
    ),
    "one neuron, one latent, dead time is memory in float32": lambda: one_layer(
        float32(1), None, refractory(1, 1, float32(0.1), 0.1), jnp.ones((1, 1), float32)
    ),
    "no dead time": lambda: one_layer(np.float64(1), None, refractory(dead_time=0)),
    "no memory": lambda: one_layer(np.float32(1), None, rl.NoRefractory()),
}


@pytest.mark.parametrize("make", ODD.values(), ids=list(ODD))
def test_odd_but_sensible_input_runs(make):
    network = make()
    grid = rl.TimeGrid(np.float64(0.1), np.int32(1))
    increments = np.ones((1, network.layers[0].num_latents), int)
    for dynamics in DYNAMICS:
        trajectory = rl.simulate(network, increments, grid, dynamics, key=KEY)
        assert trajectory.outputs.shape == increments.shape
        assert np.isfinite(trajectory.outputs).all()


def test_a_path_runs_within_jit():
    path = diffrax.LinearInterpolation(jnp.asarray([0.0, 1.0]), 9.0 * EYE)
    inside = jax.jit(lambda path: simulate(increments=path).outputs)(path)
    np.testing.assert_allclose(inside, simulate(increments=path).outputs, rtol=1e-12)
