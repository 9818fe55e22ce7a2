"""Bad input gives a `ValueError` that names the argument and the value, before anything compiles; odd input passes."""

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
KEY, RAW, KEYS = jax.random.key(0), jax.random.PRNGKey(0), jax.random.key_data
NEURON, GRID, TWO_BY_TWO = rl.SRM0(), rl.TimeGrid(1e-3, 4), np.eye(2)
LAYER = rl.Layer(NEURON, TWO_BY_TWO, TWO_BY_TWO)
NETWORK = rl.Network([LAYER])
DYNAMICS = [rl.Spiking(), rl.GeneralisedRate(), rl.ConventionalRate()]
by_dynamics = pytest.mark.parametrize("dynamics", DYNAMICS, ids=lambda d: type(d).__name__)


def refused(call, *fragments):
    """`call()` raises a `ValueError` whose message holds the fragments in this order."""
    pattern = "(?s)" + ".*".join(re.escape(fragment) for fragment in fragments)
    with pytest.raises(ValueError, match=pattern):
        call()


def table(cases):
    """Cases as name: (whatever the test takes, fragments of the message)."""
    return pytest.mark.parametrize(("case", "fragments"), cases.values(), ids=cases.keys())


drive = partial(rl.WienerDrive, key=KEY)
layer = partial(rl.Layer, NEURON)
relay = partial(rl.relay_network, NEURON)
relay = partial(relay, num_neurons=2, num_latents=2, depth=1, key=KEY)
method_of_lines = partial(rl.GeneralisedRate, diffrax.Heun())
curve = rl.ErrorCurve((2, 4), (np.ones(2), np.ones(2)))
error = partial(rl.mean_absolute_error, np.zeros((4, 2)), np.zeros((4, 2)))


def make_network(num_neurons, key):
    return relay(num_neurons=num_neurons, key=key)


STUDY = dict(make_network=make_network, sizes=[2, 4], grid=GRID, trials=1, key=KEY)
study = partial(rl.convergence, **STUDY)

# (function, argument, its name in messages); scalars or arrays first, then those that have to be one number.
ANY = [
    (rl.ExponentialEscape, "threshold", "ExponentialEscape.threshold"),
    (rl.ExponentialRefractory, "amplitude", "ExponentialRefractory.amplitude"),
    (partial(layer, TWO_BY_TWO, TWO_BY_TWO), "bias", "Layer.bias"),
    (relay, "bias", "bias"),
]
NOT_NEGATIVE = [
    (rl.ExponentialRefractory, "dead_time", "ExponentialRefractory.dead_time"),
]
POSITIVE = [
    (rl.ExponentialEscape, "rate", "ExponentialEscape.rate"),
    (rl.ExponentialEscape, "width", "ExponentialEscape.width"),
    (rl.ExponentialRefractory, "tau", "ExponentialRefractory.tau"),
    (rl.SRM0, "tau_m", "SRM0.tau_m"),
]
NUMBER_NOT_NEGATIVE = [
    (rl.ExponentialRefractory, "memory", "ExponentialRefractory.memory"),
]
NUMBER_POSITIVE = [
    (partial(rl.Network, [LAYER]), "output_tau_m", "Network.output_tau_m"),
    (relay, "gain", "gain"),
    (partial(rl.TimeGrid, num_steps=1), "dt", "TimeGrid.dt"),
    (partial(drive, 2), "tau_m", "WienerDrive.tau_m"),
    (partial(drive, 2), "resolution", "WienerDrive.resolution"),
    (method_of_lines, "age_step", "GeneralisedRate.age_step"),
    (curve.slope, "level", "level"),
    (curve.confidence_interval, "level", "level"),
]
NUMBERS = NUMBER_NOT_NEGATIVE + NUMBER_POSITIVE
NONE_IS_THE_DEFAULT = ("Network.output_tau_m", "GeneralisedRate.age_step")


def numeric_cases():
    for call, argument, name in ANY + NOT_NEGATIVE + POSITIVE + NUMBERS:
        bad = [(value, f"got {value}") for value in (NAN, INF, -INF)]
        bad += [("1.0", "got '1.0'"), (1j, "got 1j")]
        if name not in NONE_IS_THE_DEFAULT:
            bad += [(None, "got None")]
        if (call, argument, name) in NUMBERS:
            bad += [([1.0, 2.0], "got shape (2,)")]
        else:
            bad += [(np.array([1.0, NAN]), "got nan at index (1,)"), ([], "got shape (0,)")]
            bad += [([1.0, None], "got [1.0, None]")]
        if (call, argument, name) not in ANY:
            bad += [(-1.0, "got -1.0")]
        if (call, argument, name) in POSITIVE + NUMBER_POSITIVE:
            bad += [(0.0, "got 0.0")]
        for value, got in bad:
            yield pytest.param(call, argument, value, name, got, id=f"{name} {value!r}")


@pytest.mark.parametrize(("call", "argument", "value", "name", "got"), numeric_cases())
def test_a_number_that_makes_no_sense(call, argument, value, name, got):
    refused(lambda: call(**{argument: value}), name + " must", got)


COUNTS = [
    (partial(rl.TimeGrid, 1e-3), "num_steps", "TimeGrid.num_steps", 1),
    (relay, "num_neurons", "num_neurons", 1),
    (relay, "num_latents", "num_latents", 1),
    (relay, "depth", "depth", 1),
    (drive, "num_latents", "WienerDrive.num_latents", 1),
    (method_of_lines, "max_steps", "GeneralisedRate.max_steps", 1),
    (rl.ChebyshevGain, "num_nodes", "ChebyshevGain.num_nodes", 2),
    (study, "trials", "trials", 1),
    (lambda size: study(sizes=[4, size]), "size", "sizes", 1),
    (study, "burn_in", "burn_in", 0),
    (curve.slope, "resamples", "resamples", 1),
    (error, "burn_in", "burn_in", 0),
]


@pytest.mark.parametrize("value", [NAN, INF, -1, 0, 1, 1.5, True, np.True_, "3", None])
@pytest.mark.parametrize(
    ("call", "argument", "name", "least"), COUNTS, ids=[row[2] for row in COUNTS]
)
def test_a_count_that_makes_no_sense(call, argument, name, least, value):
    if type(value) is int and value >= least:
        pytest.skip("this is a sensible value here")
    refused(lambda: call(**{argument: value}), name + " must", f"got {value!r}")


@pytest.mark.parametrize("traced", ["dt", "num_steps"])
def test_a_grid_is_static(traced):
    def times(value):
        return rl.TimeGrid(**(dict(dt=1e-3, num_steps=1) | {traced: value})).times

    refused(lambda: jax.jit(times)(1), f"TimeGrid.{traced} must", "trac" if traced == "dt" else "Tracer")


@pytest.mark.parametrize("call", [relay, partial(drive, 2), study], ids=["relay", "drive", "study"])
def test_a_key_is_one_typed_key(call):
    refused(lambda: call(key=None), "key must", "got None")
    refused(lambda: call(key=RAW), "key must", "uint32")
    refused(lambda: call(key=jax.random.split(KEY)), "key must", "shape (2,)")


CONSTRUCTION = {
    "memory below dead time": (
        lambda: rl.ExponentialRefractory(dead_time=[2e-3, 5e-3], memory=4e-3),
        ["ExponentialRefractory.memory", "0.005 s", "got 0.004 s"],
    ),
    "no escape": (lambda: rl.SRM0(escape=2.0), ["SRM0.escape", "got 2.0"]),
    "refractory class": (
        lambda: rl.SRM0(refractory=rl.NoRefractory),
        ["SRM0.refractory", "got <class", "NoRefractory"],
    ),
    "no neuron": (
        lambda: rl.Layer(rl.SRM0, TWO_BY_TWO, TWO_BY_TWO),
        ["Layer.neuron", "SRM0"],
    ),
    "1-D encoder": (
        lambda: layer([1.0, 2.0], TWO_BY_TWO),
        ["Layer.encoder", "(neurons, latents)", "(2,)"],
    ),
    "empty encoder": (
        lambda: layer(np.ones((0, 2)), np.ones((0, 2))),
        ["Layer.encoder", "(0, 2)"],
    ),
    "NaN in encoder": (
        lambda: layer([[1.0, 2.0], [3.0, NAN]], TWO_BY_TWO),
        ["Layer.encoder", "got nan at index (1, 1)"],
    ),
    "infinite decoder": (
        lambda: layer(TWO_BY_TWO, [[INF], [1.0]]),
        ["Layer.decoder", "got inf at index (0, 0)"],
    ),
    "decoder of other neurons": (
        lambda: layer(TWO_BY_TWO, np.ones((3, 2))),
        ["Layer.decoder", "(2, latents)", "(3, 2)"],
    ),
    "bias of other neurons": (
        lambda: layer(TWO_BY_TWO, TWO_BY_TWO, np.ones(3)),
        ["Layer.bias", "(2)", "(3,)"],
    ),
    "no layers": (lambda: rl.Network([]), ["Network.layers", "none"]),
    "layers not in a list": (lambda: rl.Network(LAYER), ["Network.layers", "Layer("]),
    "not a layer": (
        lambda: rl.Network([LAYER, NEURON]),
        ["Network.layers[1]", "Layer", "SRM0("],
    ),
    "layers that do not fit": (
        lambda: rl.Network([LAYER, layer(np.ones((2, 3)), TWO_BY_TWO)]),
        ["Network.layers[1].encoder", "2 latents", "got 3"],
    ),
    "relay of no neuron": (
        lambda: rl.relay_network(
            rl.SRM0, num_neurons=2, num_latents=2, depth=1, key=KEY
        ),
        ["neuron", "SRM0"],
    ),
    "relay bias of other neurons": (
        lambda: relay(bias=np.ones(3)),
        ["bias", "(2)", "(3,)"],
    ),
    "relay neuron of other size": (
        lambda: rl.relay_network(
            rl.SRM0(tau_m=[0.01] * 3), num_neurons=2, num_latents=2, depth=1, key=KEY
        ),
        ["neuron.tau_m", "(2,)", "(3,)"],
    ),
    "dt below the resolution": (
        lambda: drive(2, resolution=1e-3).increments(GRID),
        ["TimeGrid.dt", "resolution = 0.001", "got 0.001"],
    ),
    "age step beside AgeShift": (
        lambda: rl.GeneralisedRate(age_step=1e-3),
        ["GeneralisedRate.age_step", "AgeShift", "got 0.001"],
    ),
    "controller beside AgeShift": (
        lambda: rl.GeneralisedRate(stepsize_controller=diffrax.ConstantStepSize()),
        ["GeneralisedRate.stepsize_controller", "AgeShift", "got ConstantStepSize"],
    ),
    "dense": (
        lambda: rl.GeneralisedRate(saveat=diffrax.SaveAt(dense=True)),
        ["GeneralisedRate.saveat", "dense"],
    ),
    "all adaptive steps": (
        lambda: method_of_lines(
            stepsize_controller=diffrax.PIDController(1e-3, 1e-3),
            saveat=diffrax.SaveAt(steps=True),
        ),
        ["GeneralisedRate.saveat", "steps"],
    ),
    "solver class": (
        lambda: rl.GeneralisedRate(diffrax.Heun),
        ["GeneralisedRate.solver", "Heun"],
    ),
    "gain class": (
        lambda: rl.ConventionalRate(rl.DirectGain),
        ["ConventionalRate.gain", "DirectGain"],
    ),
    "one size left": (lambda: curve.slope(3), ["min_size", "(2, 4)", "got 3"]),
    "level 1": (lambda: curve.slope(level=1.0), ["level", "got 1.0"]),
    "errors of other shapes": (
        lambda: rl.mean_absolute_error(np.zeros((4, 2)), np.zeros((4, 3))),
        ["reference", "(4, 2)", "(4, 3)"],
    ),
    "errors without latents": (
        lambda: rl.mean_absolute_error(np.zeros(4), np.zeros(4)),
        ["outputs", "(4,)"],
    ),
    "burn-in of all steps": (lambda: error(burn_in=4), ["burn_in", "4", "got 4"]),
}


@table(CONSTRUCTION)
def test_what_does_not_fit(case, fragments):
    refused(case, *fragments)
