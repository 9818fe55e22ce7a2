"""Bad input gives a `ValueError` that names the argument and the value before anything compiles; odd input passes."""

import re
from collections.abc import Callable
from functools import partial

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl
from ratelike import _validation as validation
from ratelike._neuron import check_neuron

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
curve = rl.study.SizeCurve((2, 4), (np.ones(2), np.ones(2)))
error = partial(rl.mean_absolute_error, INCREMENTS, INCREMENTS)


def make_network(num_neurons, key):
    return relay(num_neurons=num_neurons, key=key)


SIMULATION = dict(network=NETWORK, increments=INCREMENTS, grid=GRID)
simulate = partial(rl.simulate, **SIMULATION, dynamics=rl.GeneralisedRate())
spiking = partial(rl.simulate, **SIMULATION, dynamics=rl.Spiking())
STUDY = dict(sizes=[2, 4], grid=GRID, num_trials=1, key=KEY, make_network=make_network)
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
    monkeypatch.setattr("ratelike._study._convergence.run_cell", fail)


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
    (rl.ChebyshevRate, "ChebyshevRate.", dict(num_cells=[(3, "got 3"), *COUNT])),
    (study, "", dict(num_trials=SIZE, burn_in=COUNT + NEGATIVE)),
    (lambda sizes: study(sizes=[4, sizes]), "", dict(sizes=SIZE)),
    (curve.slope, "", dict(level=LEVEL)),
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
    "Layer.decoder ... (0, 2)": lambda: layer(np.ones((0, 2)), np.ones((0, 2))),
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
    "Execution.budget ... got 4.5": lambda: rl.study.Execution(budget=4.5),
    "Execution.progress must be a function": lambda: rl.study.Execution(progress=True),
    "Execution.on_cell must be a function": lambda: rl.study.Execution(on_cell=[]),
    "ComparedDynamics.generalised ... got <class": lambda: rl.study.ComparedDynamics(rl.GeneralisedRate),
    "ComparedDynamics.conventional must ... got 1.0": lambda: rl.study.ComparedDynamics(conventional=1.0),
    "Execution.enough_trials ... at least 1 ... got 0": lambda: rl.study.Execution(enough_trials=0),
    "GeneralisedRate.age_step ... AgeShift ... got 0.001": lambda: rl.GeneralisedRate(age_step=1e-3),
    "GeneralisedRate.stepsize_controller ... got Const": lambda: rl.GeneralisedRate(stepsize_controller=diffrax.ConstantStepSize()),
    "GeneralisedRate.saveat ... dense": lambda: rl.GeneralisedRate(saveat=diffrax.SaveAt(dense=True)),
    "GeneralisedRate.saveat ... steps": lambda: method_of_lines(diffrax.PIDController(1e-3, 1e-3), saveat=diffrax.SaveAt(steps=True)),
    "ConventionalRate.rate ... got <class": lambda: rl.ConventionalRate(rl.DirectRate),
    "min_size ... (2, 4), got 3": lambda: curve.slope(3),
    "min_size ... got 'all'": lambda: curve.slope("all"),
    "reference ... (4, 2) ... (3, 2)": lambda: rl.mean_absolute_error(INCREMENTS, INCREMENTS[:3]),
    "outputs ... time, latents) ... (4,)": lambda: rl.mean_absolute_error(np.zeros(4), np.zeros(4)),
    "burn_in ... number of steps, 4, got 4": lambda: error(burn_in=4),
    "layer must have a next one: at most 0 ... got 1": lambda: rl.Network([LAYER, LAYER]).weights(1),
    "layer must ... at least 0, got -1": lambda: rl.Network([LAYER, LAYER]).weights(-1),
    "tau_m must ... greater than 0, got nan": lambda: rl.membrane_traces(INCREMENTS, NAN, 1e-3),
    "tau_m must ... greater than 0, got -1.0": lambda: rl.membrane_traces(INCREMENTS, -1.0, 1e-3),
    "tau_m must have shape (2) ... (3,)": lambda: rl.membrane_traces(INCREMENTS, np.ones(3), 1e-3),
    "dt must ... greater than 0, got 0.0": lambda: rl.membrane_traces(INCREMENTS, 1e-2, 0.0),
    "dt must be finite and greater than 0, got 0.0": lambda: rl.stationary_rate(NEURON, 1.0, 0.0),
    "dead_time must be a multiple of the step dt = 0.0015 s": lambda: rl.stationary_rate(NEURON, 1.0, 1.5e-3),
    "memory must be at most 1e+07 steps of dt = 1e-09": lambda: rl.stationary_rate(NEURON, 1.0, 1e-9),
    "potential must ... got nan": lambda: rl.stationary_rate(NEURON, NAN, 1e-3),
    "potential must fit neuron.tau_m of shape (3,) ... (2,)": lambda: rl.stationary_rate(rl.SRM0([0.01] * 3), [1.0, 2.0], 1e-3),
    "Layer.encoder must be of single or double ... float16": lambda: layer(jnp.ones((2, 2), jnp.float16), EYE),
    "SRM0.tau_m must be plain numbers ... got 'ms'": lambda: rl.SRM0(WithUnit(10.0, "ms")),
    "SRM0.tau_m must be plain numbers ... got 'ms' with [": lambda: rl.SRM0([0.01, WithUnit(10.0, "ms")]),
    "TimeGrid.dt must be plain numbers ... got 'ms'": lambda: rl.TimeGrid(WithUnit(1.0, "ms"), 4),
    "TimeGrid.num_steps must be plain numbers ... got 'ms'": lambda: rl.TimeGrid(1e-3, WithUnit(4, "ms")),
    "SRM0.tau_m must be plain numbers ... got 'timedelta64[ms]'": lambda: rl.SRM0(np.timedelta64(10, "ms")),
    "bias and gain must be where ... a mean slope of 0 Hz": lambda: relay(bias=200.0),
    "bias and gain must be where ... bias -2000": lambda: rl.streamed_relay_network(NEURON, **SIZES, bias=-2000.0),
    "bias and gain must be where ... a variance of": lambda: rl.attractor_network(NEURON, num_neurons=2, num_patterns=1, key=KEY, bias=200.0),
})
def test_what_does_not_fit(message, case):
    refused(message, case)


class WithUnit:
    """Stands for the quantities of other packages: an array that `np.asarray` strips of its unit."""

    def __init__(self, values, units):
        self.values, self.units = values, units

    def __str__(self):
        return f"{self.values} {self.units}"

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


class OwnEscape(rl.extend.AbstractEscape):
    function: Callable = eqx.field(static=True)

    def __call__(self, potential):
        return self.function(potential)


def with_escape(function):
    return edited(lambda n: n.layers[0].neuron.escape, OwnEscape(function))


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
    "increments must be given for the 2 latents that the network takes, got None": dict(increments=None),
    "increments must be an array ... drive ... got <class": dict(increments=rl.WienerDrive),
    "GridPath ... grid of 4 steps of 0.001 s, got one for 4 steps of 0.002 s": dict(increments=rl.GridPath(INCREMENTS, rl.TimeGrid(2e-3, 4))),
    "GridPath ... grid of 4 steps of 0.001 s, got one for 3 steps of 0.001 s": dict(increments=rl.GridPath(INCREMENTS[:3], rl.TimeGrid(1e-3, 3))),
    "increments must be an array, a drive ... got <function": dict(increments=lambda time: time),
    "increments must be of single or double ... got float16": dict(increments=jnp.zeros((4, 2), jnp.float16)),
    "increments must be plain numbers ... 'ms'": dict(increments=WithUnit(INCREMENTS, "ms")),
    "network.layers[0].encoder ... got bfloat16": edited(lambda n: n.layers[0].encoder, jnp.ones((2, 2), jnp.bfloat16)),
    "network.layers[0].neuron.escape.rate ... greater than 0, got -1.0": edited(lambda n: n.layers[0].neuron.escape.rate, jnp.asarray(-1.0)),
    "network.layers[0].neuron.escape, an escape rate ... at least 0 ... got -1 at the potential -0.01": with_escape(lambda u: jnp.where(u < 0.0, -1.0, u)),
    "neuron.escape ... got -inf at the potential 0": with_escape(jnp.log),
    "neuron.escape ... got inf at the potential 1000": with_escape(jnp.exp),
    "neuron.escape must act elementwise": with_escape(lambda u: jnp.ones(3)),
    "neuron.escape must be an escape rate ... got ZeroDivisionError": with_escape(lambda u: 1 / 0),
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
    "execution.budget ... largest size, 4, got 3": dict(execution=rl.study.Execution(budget=3)),
    "execution must be an instance of Execution, got 3": dict(execution=3),
    "grid ... TimeGrid, got 0.001": dict(grid=1e-3),
    "burn_in ... number of steps, 4, got 4": dict(burn_in=4),
    "dynamics must be an instance of ComparedDynamics, got Gen": dict(dynamics=rl.GeneralisedRate()),
    "make_network must return a ratelike.Network, got Layer(": dict(make_network=lambda n, key: LAYER),
    "make_network must ... 3 neurons ... got 2 in layer 0": dict(sizes=[3], make_network=lambda n, key: NETWORK),
    "neuron.dead_time ... dt = 0.0003 s, got 0.002 s": dict(grid=rl.TimeGrid(0.3e-3, 9)),
    "make_network must be a function of the size and a key, got 'abc'": dict(make_network="abc"),
    "make_drive must be a function of a network and a key, got 1.0": dict(make_drive=1.0),
    "make_drive must return a drive ... got None": dict(make_drive=lambda network, key: None),
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


# Whole numbers of seconds look like milliseconds.
@pytest.mark.filterwarnings("ignore:.*are in seconds, not milliseconds")
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


def test_times_to_save_lie_on_the_grid():
    def saving(*times):
        saveat = diffrax.SaveAt(ts=list(times))
        return partial(simulate, dynamics=rl.GeneralisedRate(saveat=saveat))

    refused(
        "GeneralisedRate.saveat.ts must lie ... 0.004 s, got 0.005 s",
        saving(0.001, 0.005),
    )
    refused(
        "GeneralisedRate.saveat.ts must lie ... got -0.001 s", saving(-0.001, 0.001)
    )
    refused(
        "GeneralisedRate.saveat.ts must be in ascending order", saving(0.002, 0.001)
    )


def test_messages_are_short():
    """A network of many layers is not printed into them."""
    deep = rl.Network([LAYER] * 50)
    for case in (dict(grid=deep), dict(dynamics=deep), dict(network=deep.layers)):
        with pytest.raises(ValueError, match="must be") as caught:
            simulate(**case)
        assert len(str(caught.value)) < 250


class Labelled:
    """A table of pandas or xarray: columns and attributes answer to their names."""

    def __init__(self, **columns):
        self.__dict__.update(columns)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(0.02, dtype)


def test_what_carries_no_unit_is_taken_as_it_is():
    for value in (
        WithUnit(0.02, "dimensionless"),
        WithUnit(0.02, WithUnit(1.0, "dimensionless")),
        Labelled(dimensionality={}),
        Labelled(units=np.arange(3.0), unit=5.0),
        Labelled(unit=lambda: "ms"),
        [0.02, np.float32(0.02)],
    ):
        np.testing.assert_allclose(rl.SRM0(value).tau_m, 0.02)
    for unit in ("percent", "s", {"[time]": 1}):
        refused(
            "SRM0.tau_m must be plain numbers",
            lambda unit=unit: rl.SRM0(WithUnit(0.02, unit)),
        )


def test_tables_of_other_packages():
    pandas, xarray = pytest.importorskip("pandas"), pytest.importorskip("xarray")
    frame = pandas.DataFrame({"unit": np.zeros(4), "units": np.ones(4)})
    array = xarray.DataArray(INCREMENTS, dims=("time", "latent"))
    for table in (frame, array, pandas.Series([1.0, 2.0], index=["unit", "b"])):
        parameter = validation.parameter("x", table)
        np.testing.assert_array_equal(parameter, np.asarray(table))
    refused(
        "x must be plain numbers ... 'ms'",
        lambda: validation.parameter("x", array.assign_attrs(units="ms")),
    )
    refused("x must be numeric", lambda: validation.parameter("x", frame.astype(str)))


def test_a_value_that_float32_cannot_hold():
    with jax.enable_x64(False):
        refused(
            "SRM0.tau_m must ... greater than 0 in float32, got 1e-300",
            lambda: rl.SRM0(1e-300),
        )
        refused(
            "Layer.bias must be finite in float32, got 1e+300",
            lambda: layer(EYE, EYE, 1e300),
        )


def test_an_escape_rate_is_looked_at_once():
    calls = []

    def function(potential):
        calls.append(potential.shape)
        return jnp.ones_like(potential)

    network = with_escape(function)["network"]
    for _ in range(3):
        check_neuron("neuron", network.layers[0].neuron, 2)
    assert len(calls) == 1


def test_stationary_rate_of_plain_numbers():
    """Against the mean interval, summed in plain NumPy (default neuron)."""
    ages = np.arange(1, 101) * 1e-3
    for potential in (0, 2, np.int32(1)):
        hazard = 10.0 * np.exp(potential - 5.0 * np.exp(-ages / 20e-3))
        hazard = hazard * (0.5 * (ages > 1.5e-3) + 0.5 * (ages > 2.5e-3))
        p = -np.expm1(-1e-3 * hazard)
        survivors = np.concatenate([[1.0], np.cumprod(1.0 - p[:-1])])
        interval = 1e-3 * (survivors[:-1].sum() + survivors[-1] / p[-1])
        rate = rl.stationary_rate(NEURON, potential, 1e-3)
        np.testing.assert_allclose(rate, 1.0 / interval, rtol=1e-12)
        assert rate.dtype == float
    single = rl.stationary_rate(NEURON, jnp.ones(2, jnp.float32), 1e-3)
    assert single.dtype == jnp.float32
