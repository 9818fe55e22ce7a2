"""Every argument of the public names, with every kind of nonsense: refused by name, or accepted with a finite result.

What compiles is replaced by `Accepted`, so that the checks alone run; `-m slow` runs the rest for real.
"""

import math
import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl

KEY = jax.random.key(0)
EYE = np.eye(2)
NEURON, GRID = rl.SRM0(), rl.TimeGrid(1e-3, 4)
LAYER = rl.Layer(NEURON, EYE, EYE)
NETWORK, INCREMENTS = rl.Network([LAYER, LAYER]), np.zeros((4, 2))
CONNECTIVITY = (
    rl.streamed_relay_network(NEURON, num_neurons=2, num_latents=2, depth=1, key=KEY)
    .layers[0]
    .connectivity
)
SIZES = dict(num_neurons=2, num_latents=2, depth=1, key=KEY)


class Quantity:
    """Looks like an array, and has a unit, which `np.asarray` drops."""

    def __init__(self, units="ms"):
        self.units = units

    def __array__(self, dtype=None, copy=None):
        return np.asarray(10.0, dtype)

    def __float__(self):
        return 10.0

    def __int__(self):
        return 10


class Hostile:
    """An object of a caller's own that answers nothing."""

    def __repr__(self):
        raise RuntimeError

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError


OBJECTS = np.empty(2, object)
OBJECTS[:] = Quantity()

# Nothing takes these, unless a target says so.
NEVER = {
    "text": "abc",
    "number as text": "1.0",
    "bytes": b"1",
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "array with nan": np.array([1.0, math.nan]),
    "matrix with inf": np.array([[1.0, 2.0], [3.0, math.inf]]),
    "ragged": [[1.0, 2.0], [3.0]],
    "with None": [1.0, None],
    "complex": 1j,
    "complex array": jnp.ones(2, complex),
    "float16": np.float16(1.0),
    "bfloat16": jnp.ones(2, jnp.bfloat16),
    "half matrix": jnp.ones((2, 2), jnp.float16),
    "beyond float": 10**400,
    "lambda": lambda *args: 1.0,
    "class": rl.SRM0,
    "object": object(),
    "hostile": Hostile(),
    "dict": {"a": 1.0},
    "keys": jax.random.split(KEY),
    "quantity": Quantity(),
    "quantities": [Quantity(), Quantity()],
    "array of quantities": OBJECTS,
    "timedelta": np.timedelta64(10, "ms"),
    "timedeltas": np.array([10, 10], "timedelta64[ms]"),
    "empty": [],
    "no neurons": np.zeros((0, 2)),
    "all axes": np.ones((2, 3, 4, 5)),
}
# Some arguments take some of these; what comes out has to be finite.
MAYBE = {
    "None": None,
    "zero": 0.0,
    "0": 0,
    "minus": -1.0,
    "-1": -1,
    "one and a half": 1.5,
    "huge": 1e300,
    "-huge": -1e300,
    "tiny": 1e-300,
    "true": True,
    "vector": np.ones(3),
    "matrix": np.ones((3, 5)),
    "raw key": jax.random.PRNGKey(0),
    "integers": np.ones((2, 2), int),
    "list of lists": [[1.0, 0.0], [0.0, 1.0]],
    "dimensionless": Quantity("dimensionless"),
}


class Accepted(Exception):
    """All checks passed, and it would compile now."""


# What would compile.
COMPILED = (
    "_simulate._simulate",
    "_fluctuations._expected_error._expected_error",
    "_training._losses._expected_spiking_loss",
    "_fluctuations._variance._variance",
    "_fluctuations._variance._covariance",
    "_study._convergence.run_cell",
    "_signal._membrane.traces_from",
    "_neuron._renewal.stationary_rate",
)


@pytest.fixture
def compile_nothing(monkeypatch):
    def accept(*args, **kwargs):
        raise Accepted

    for name in COMPILED:
        monkeypatch.setattr(f"ratelike.{name}", accept)
    monkeypatch.setattr(rl.WienerDrive, "_increments", lambda drive, *times: INCREMENTS)


def names(good, *arguments, known=()):
    """A target's good arguments, those that are to be spoilt (by default all), and kinds of `NEVER` that it may take."""
    return good, arguments or tuple(good), known


SHAPES = ("all axes", "no neurons", "empty")
FUNCTIONS = ("lambda", "class")
SIMULATION = dict(network=NETWORK, increments=INCREMENTS, grid=GRID)
LOSS = dict(SIMULATION, target=np.zeros((4, 2)), burn_in=0)

CONSTRUCTORS = [
    (rl.ExponentialEscape, names(dict(rate=1.0, threshold=0.0, width=1.0), known=SHAPES[:1])),
    (rl.SigmoidEscape, names(dict(rate=1.0, threshold=0.0, width=1.0), known=SHAPES[:1])),
    (rl.SoftplusEscape, names(dict(rate=1.0, threshold=0.0, width=1.0), known=SHAPES[:1])),
    (rl.ExponentialRefractory, names(dict(amplitude=1.0, tau=1e-2, dead_time=1e-3, memory=1e-2), known=SHAPES[:1])),
    (rl.AlphaRefractory, names(dict(amplitude=1.0, tau=1e-2, dead_time=1e-3, memory=1e-2), known=SHAPES[:1])),
    (rl.PowerLawRefractory, names(dict(amplitude=1.0, tau=1e-2, exponent=1.0, dead_time=1e-3, memory=1e-2), known=SHAPES[:1])),
    (rl.TableRefractory, names(dict(values=[1.0], age_step=1e-3, dead_time=1e-3), known=SHAPES[:1])),
    (rl.SumRefractory, names(dict(kernels=[rl.NoRefractory()]))),
    (rl.SRM0, names(dict(tau_m=1e-2, escape=None, refractory=None), known=SHAPES[:1])),
    (rl.LIF, names(dict(tau_m=1e-2, escape=None, v_reset=-1.0, dead_time=1e-3, memory=1e-2), known=SHAPES[:1])),
    (rl.Adaptation, names(dict(amplitude=1.0, tau=1e-1), known=SHAPES[:1])),
    (rl.AdaptiveSRM, names(dict(tau_m=1e-2, escape=None, refractory=None, adaptation=None, closure=None), known=SHAPES[:1])),
    (rl.Mixture, names(dict(neurons=[NEURON], kind=[0, 0]))),
    (rl.TimeGrid, names(dict(dt=1e-3, num_steps=4, first_step=0))),
    (rl.WienerDrive, names(dict(num_latents=2, tau_m=1e-2, key=KEY, resolution=1e-5))),
    (rl.SignalDrive, names(dict(values=INCREMENTS, dt=1e-3, interpolation=None))),
    (rl.SignalDrive, names(dict(values=INCREMENTS, times=[0.0, 1.0, 2.0, 3.0]), "times")),
    (rl.FunctionDrive, names(dict(function=np.sin, num_nodes=4), known=FUNCTIONS)),
    (rl.OrnsteinUhlenbeckDrive, names(dict(num_latents=2, tau=1e-2, std=1.0, key=KEY))),
    (rl.SpikeTrainDrive, names(dict(times=[0.1, 0.2], channels=[0, 1], weights=EYE), known=("empty", "timedeltas"))),
    (rl.SumDrive, names(dict(drives=[rl.WienerDrive(2, key=KEY)]))),
    (rl.JoinedDrive, names(dict(drives=[rl.WienerDrive(2, key=KEY)]))),
    (rl.ScaledDrive, names(dict(drive=rl.WienerDrive(2, key=KEY), factor=1.0), known=SHAPES[:1])),
    (rl.GridPath, names(dict(values=INCREMENTS, grid=GRID))),
    (rl.Layer, names(dict(neuron=NEURON, encoder=EYE, decoder=EYE, bias=0.0, feedback=None, synapse=None, node_weights=None))),
    (rl.Feedback, names(dict(encoder=EYE, decoder=EYE, delay=1e-3, self_connection=False, synapse=None))),
    (rl.ExponentialSynapse, names(dict(tau=1e-3))),
    (rl.AlphaSynapse, names(dict(tau=1e-3))),
    (rl.DoubleExponentialSynapse, names(dict(rise=1e-3, decay=2e-3))),
    (rl.Delay, names(dict(duration=1e-3))),
    (rl.Network, names(dict(layers=[LAYER], output_tau_m=1e-2))),
    (rl.GaussHermite, names(dict(num_nodes=4, smallest_weight=0.0))),
    (rl.QuasiMonteCarlo, names(dict(num_points=16, key=KEY))),
    (rl.AgeShift, names(dict(mesh=None))),
    (rl.GeneralisedRate, names(dict(solver=None, stepsize_controller=None, adjoint=None, progress_meter=None, saveat=None, age_step=None, max_steps=10))),
    (rl.ConventionalRate, names(dict(rate=None))),
    (rl.ChebyshevRate, names(dict(num_cells=4))),
    (rl.Spiking, names(dict(estimator=None))),
    (rl.membrane_traces, names(dict(increments=INCREMENTS, tau_m=1e-2, dt=1e-3), known=("all axes",))),
    (rl.mean_absolute_error, names(dict(outputs=INCREMENTS, reference=INCREMENTS, burn_in=0), "burn_in")),
    (NETWORK.weights, names(dict(layer=0))),
    (rl.stationary_rate, names(dict(neuron=NEURON, potential=1.0, dt=1e-3), known=("all axes",))),
    (rl.AgeMesh.graded, names(dict(neuron=NEURON, tolerance=1e-3, potential=2.0))),
    (rl.study.ComparedDynamics, names(dict(generalised=rl.GeneralisedRate(), conventional=rl.ConventionalRate(), spiking=rl.Spiking()))),
    (rl.study.Execution, names(dict(budget=None, enough_trials=None, workers=1, mesh=None))),
    (rl.study.Execution, names(dict(progress=None, on_cell=None), known=FUNCTIONS)),
    (rl.study.SweepExecution, names(dict(budget=None, workers=1, devices=None))),
    (rl.study.SweepExecution, names(dict(claim=None, progress=None), known=FUNCTIONS)),
    (rl.StreamedLayer, names(dict(neuron=NEURON, connectivity=CONNECTIVITY, num_neurons=2, key=KEY))),
]  # fmt: skip

COMPUTED = [
    (partial(rl.relay_network, NEURON), names(SIZES | dict(gain=1.0, bias=1.0, synapse=None))),
    (rl.relay_network, names(SIZES | dict(neuron=NEURON), "neuron")),
    (partial(rl.streamed_relay_network, NEURON), names(SIZES | dict(gain=1.0, bias=1.0, synapse=None))),
    (partial(rl.attractor_network, NEURON), names(dict(num_neurons=2, num_patterns=1, key=KEY, gain=1.0, bias=1.0, delay=None))),
    (rl.infinite_relay_network, names(dict(neuron=NEURON, num_latents=1, depth=1, nodes=rl.GaussHermite(2), gain=1.0, bias=1.0, num_parameters=0, synapse=None))),
]  # fmt: skip

VERBS = [
    (rl.simulate, names(SIMULATION | dict(dynamics=rl.Spiking(), key=KEY, record={0: [1]}, mesh=None, initial=None, keep_final=True))),
    (partial(rl.simulate, **SIMULATION), names(dict(dynamics=rl.GeneralisedRate(), key=None))),
    (rl.stationary_state, names(dict(network=NETWORK, input=np.ones(2)))),
    (rl.expected_error, names(SIMULATION | dict(burn_in=0, num_probes=1, key=KEY, age_mesh=None, response=None))),
    (rl.rate_loss, names(LOSS | dict(dynamics=None))),
    (rl.expected_spiking_loss, names(LOSS | dict(num_probes=1, key=KEY, age_mesh=None, response=None))),
    (rl.readout_variance, names(dict(layer=LAYER, increments=INCREMENTS, grid=GRID, tau_m=1e-2, age_mesh=None))),
    (rl.readout_covariance, names(dict(layer=LAYER, increments=INCREMENTS, grid=GRID, tau_m=1e-2))),
    (rl.train.solve_decoders, names(SIMULATION | dict(target=np.zeros((4, 2)), ridge=1.0, burn_in=0, dynamics=None))),
    (rl.train.sampled_loss, names(SIMULATION | dict(loss=lambda network, run: run.rates[0, 0], dynamics=rl.Spiking(), key=KEY, num_trials=2), known=FUNCTIONS)),
    (rl.convergence, names(dict(
        make_network=lambda size, key: NETWORK, sizes=[2], grid=GRID, num_trials=1, key=KEY, burn_in=0, make_drive=None,
        dynamics=None, execution=None,
    ), "sizes", "grid", "num_trials", "key", "burn_in", "dynamics", "execution")),
    (rl.convergence, names(dict(
        make_network=lambda size, key: NETWORK, sizes=[2], grid=GRID, num_trials=1, key=KEY, make_drive=None,
    ), "make_network", "make_drive", known=FUNCTIONS)),
]  # fmt: skip


def outcome(call, names):
    """How the call ended if it was not refused, with one of the names in the message."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            result = call()
    except Accepted:
        return "accepted"
    except ValueError as error:
        message = str(error)
        if not any(name in message.replace(" ", "_") for name in names):
            return f"ValueError without the name: {message[:200]}"
        return f"message of {len(message)} characters" if len(message) > 500 else None
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    arrays = [each for each in jax.tree.leaves(result) if hasattr(each, "dtype")]
    floats = [each for each in arrays if jnp.issubdtype(each.dtype, jnp.floating)]
    if all(np.isfinite(each).all() for each in floats):
        return "accepted"
    return "accepted, and not finite"


def faults(target, kinds):
    function, (good, arguments, known) = target
    found = []
    assert outcome(partial(function, **good), ()) == "accepted"
    for name in arguments:
        for kind, value in kinds.items():
            if kind in FUNCTIONS and kind in known:
                continue  # it is called, and what it does is its own affair
            possible = kind in MAYBE or kind in known
            # What could do by itself may be said not to fit another argument.
            names = tuple(good) if possible else (name,)
            problem = outcome(partial(function, **(good | {name: value})), names)
            if problem is not None and not (possible and problem == "accepted"):
                found.append(f"{name}={kind}: {problem}")
    return found


def label(target):
    function = target[0]
    function = getattr(function, "func", function)
    return getattr(function, "__qualname__", repr(function))


@pytest.mark.usefixtures("compile_nothing")
@pytest.mark.parametrize("target", CONSTRUCTORS + VERBS, ids=label)
def test_nonsense_is_refused_by_name(target):
    assert faults(target, NEVER | MAYBE) == []


@pytest.mark.parametrize("target", COMPUTED, ids=label)
def test_nonsense_is_refused_before_a_network_is_drawn(target):
    assert faults(target, NEVER) == []


@pytest.mark.slow
@pytest.mark.parametrize("target", COMPUTED, ids=label)
def test_what_might_make_sense_gives_a_finite_network(target):
    assert faults(target, MAYBE) == []


# A small grid, for real: what is accepted runs, and comes to something finite.
@pytest.mark.slow
@pytest.mark.parametrize(
    "dynamics",
    [rl.Spiking(), rl.GeneralisedRate(), rl.ConventionalRate()],
    ids=lambda d: type(d).__name__,
)
def test_what_is_accepted_simulates(dynamics):
    def run(neuron=NEURON, encoder=EYE, decoder=EYE, bias=1.0, increments=INCREMENTS):
        network = rl.Network([rl.Layer(neuron, encoder, decoder, bias)])
        return rl.simulate(network, increments, GRID, dynamics, key=KEY).outputs

    target = run, names(dict(encoder=EYE, decoder=EYE, bias=1.0, increments=INCREMENTS))
    assert faults(target, MAYBE) == []
    for field in ("tau_m", "v_reset", "dead_time"):

        def of_neuron(**value):
            return run(rl.LIF(memory=5e-3, **value))

        good = {"tau_m": 1e-2, "v_reset": -5.0, "dead_time": 2e-3}
        assert faults((of_neuron, names(good, field)), MAYBE) == []
