"""`save` and `load`: what comes back is what went in, and no file does harm."""

import dataclasses
import hashlib
import json
import math
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl
from ratelike._dynamics._run_layer import LayerRun
from ratelike._estimator._score_function import _GivenSpikes
from ratelike._fluctuations._block import State
from ratelike._io._kept_classes import KnownClasses
from ratelike._population._layer_state import AbstractLayerState
from ratelike._study._sweep._cell_file import FinishedCell
from tests.oracles.users_neuron import UsersSRM

REFERENCE = Path(__file__).parents[1] / "oracles" / "reference" / "kept_1.rl"
NUMBERS = [
    0.1,
    -0.0,
    math.inf,
    math.nan,
    1 / 3,
    5e-324,
    2**70,
    -3,
    True,
    1j,
    "é\n",
    None,
]


class Pair(NamedTuple):
    first: object
    second: object


class Scaled(eqx.Module):
    """A class of the user, with a field for an object and static ones."""

    inner: object
    scale: float = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)


def assert_same(value, other):
    """Of one type, and with the same bits, by a walk that knows nothing of the file."""
    assert type(value) is type(other)
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            assert_same(getattr(value, field.name), getattr(other, field.name))
    elif isinstance(value, dict):
        assert list(value) == list(other)
        assert_same(list(value.values()), list(other.values()))
    elif isinstance(value, (list, tuple)):
        assert len(value) == len(other)
        for pair in zip(value, other, strict=True):
            assert_same(*pair)
    elif isinstance(value, (jax.Array, np.ndarray, np.generic)):
        assert value.dtype == other.dtype
        assert value.shape == other.shape
        if isinstance(value, jax.Array):
            if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
                assert jax.random.key_impl(value) == jax.random.key_impl(other)
                value, other = map(jax.random.key_data, (value, other))
            assert value.weak_type == other.weak_type
        assert np.asarray(value).tobytes() == np.asarray(other).tobytes()
    else:
        assert value == other or value != value


def layer(neuron=None, **options):
    weights = np.random.default_rng(0).normal(size=(2, 12, 2))
    neuron = rl.SRM0() if neuron is None else neuron
    return rl.Layer(neuron, weights[0], 0.02 * weights[1], 0.5, **options)


def network():
    """Layers of many types, of which some share a neuron."""
    table = rl.TableRefractory([-3.0, -1.0, 0.0], age_step=2e-3, dead_time=1e-3)
    kernels = rl.SumRefractory([rl.AlphaRefractory(), table])
    mixture = rl.Mixture(
        [rl.LIF(), rl.LIF(v_reset=-1.0)], jnp.arange(12, dtype=jnp.int32) % 2
    )
    adaptive = rl.AdaptiveSRM(adaptation=[rl.Adaptation(1.0, 0.1)])
    feedback = rl.Feedback(np.ones((12, 1)), np.ones((12, 1)), delay=2e-3)
    first = rl.SRM0(10e-3, rl.SigmoidEscape(), kernels)
    neurons = [first, mixture, adaptive, rl.SRM0(refractory=rl.PowerLawRefractory())]
    return rl.Network([*map(layer, neurons), layer(first, feedback=feedback)])


def curve(dtype):
    return rl.study.SizeCurve([8, 64], [np.arange(1, 4, dtype=dtype), np.ones(1)])


def trajectory():
    return run(*reference())


def run(*network_input_grid):
    dynamics = rl.GeneralisedRate()
    return rl.simulate(
        *network_input_grid, dynamics, record={0: [1, 5]}, keep_final=True
    )


shared = np.arange(3)
THINGS = {
    "network": network,
    "streamed": lambda: rl.streamed_relay_network(
        rl.SRM0(), num_neurons=70, num_latents=2, depth=1, key=jax.random.key(3)
    ),
    "nodes": lambda: [rl.GaussHermite(4), rl.QuasiMonteCarlo(8, key=jax.random.key(1))],
    "signals": lambda: (
        rl.SignalDrive(np.eye(5, 2), times=[0.0, 1e-3, 2e-3, 5e-3, 9e-3]),
        rl.SpikeTrainDrive([1e-3, 4e-3], [0, 1], np.eye(2)),
        layer(synapse=[rl.Delay([1e-3, 2e-3]), rl.AlphaSynapse(3e-3)]),
    ),
    "input": lambda: (
        rl.TimeGrid(1e-3, 20),
        rl.WienerDrive(2, key=jax.random.key(5, impl="rbg")),
        rl.GridPath(np.ones((4, 2)), rl.TimeGrid(1e-3, 4)),
    ),
    "dynamics": lambda: {
        "density": rl.GeneralisedRate(rl.AgeShift(rl.AgeMesh((1, 2, 4)))),
        "lines": rl.GeneralisedRate(
            diffrax.Kvaerno5(),
            diffrax.PIDController(1e-3, 1e-6),
            diffrax.ForwardMode(),
            saveat=diffrax.SaveAt(ts=jnp.arange(3.0) * 1e-3),
        ),
        "compared": rl.study.ComparedDynamics(),
        "spikes": rl.Spiking(rl.train.ScoreFunction()),
    },
    "trajectory": trajectory,  # with its final state
    "start": lambda: rl.stationary_state(rl.Network([layer()]), [0.1, -0.2]),
    "studies": lambda: [
        rl.study.Convergence(curve(float), curve(np.float32), curve(int)),
        rl.study.SweepResult(
            (FinishedCell({"a": np.ones((2, 3))}, {"index": 0, "seconds": 0.1}),),
            {"configuration": {"axes": []}, "format": 3},
        ),
        rl.train.Fit(rl.Network([layer()]), np.ones(4, np.float32)),
    ],
    "numbers": lambda: {i: number for i, number in enumerate(NUMBERS)},
    "arrays": lambda: [
        *[np.asarray([[1, 0, 3]], kind) for kind in "?bBhHiIlLefdFD"],
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(3, dtype=">f8"),
        np.float64(0.1),
        np.zeros((0, 3)),
        jnp.asarray(0.1),
        jnp.asarray(0.1, dtype=jnp.float32),
        jnp.arange(3, dtype=jnp.uint8),
        jax.random.split(jax.random.key(2), 3),
        jax.random.key_data(jax.random.key(2)),
        (shared, [shared]),
    ],
    "user": lambda: Pair(Scaled(UsersSRM(*jnp.ones((5,)), 0.1, 2e-3), math.pi, (3,)), {}),
}  # fmt: skip


def kept(what, tmp_path, **options):
    rl.save(tmp_path / "kept", what)
    return rl.load(tmp_path / "kept", **options)


@pytest.mark.parametrize("name", THINGS)
def test_what_comes_back_is_what_went_in(name, tmp_path):
    what = THINGS[name]()
    classes = [Pair, Scaled, UsersSRM] if name == "user" else []
    back = kept(what, tmp_path, classes=classes)
    assert_same(back, what)
    assert jax.tree.structure(back) == jax.tree.structure(what) or name == "numbers"
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_public_classes_have_names_by_which_they_are_found():
    known = KnownClasses("ratelike")
    for module in (rl, rl.study, rl.train, rl.extend):
        for thing in vars(module).values():
            if isinstance(thing, type) and dataclasses.is_dataclass(thing):
                assert known.name_of(thing) == thing.__name__
                assert known.named(thing.__name__) is thing
    for kind in AbstractLayerState.__subclasses__():  # what final states are made of
        assert known.name_of(kind) or not kind.__module__.startswith("ratelike.")
    # Others with the module, of which they are found without it if there is only one.
    assert known.named("_run_layer.LayerRun") is known.named("_gone.LayerRun")
    assert known.name_of(LayerRun) == "_run_layer.LayerRun"
    assert known.name_of(State) == "_block.State"
    assert known.named("_block.State") is State is not known.named("State")
    assert known.named("_gone.State") is None


def test_arrays_are_copied_and_written_once(tmp_path):
    large = np.ones(10_000)
    back = kept([large, (large,), large], tmp_path)
    assert back[0] is back[1][0] is back[2]
    back[0][0] = 2.0
    assert (tmp_path / "kept").stat().st_size < 1.1 * large.nbytes


def test_a_file_of_an_earlier_version_is_read_and_simulates_to_the_same_bits():
    """Written by `write_reference` with version 0.2.0."""
    back = rl.load(REFERENCE)
    assert_same(back, reference())
    assert_same(run(*back), run(*reference()))


def reference():
    drive = rl.WienerDrive(2, key=jax.random.key(0))
    return rl.Network([layer()]), drive, rl.TimeGrid(1e-3, 20)


def write_reference():
    rl.save(REFERENCE, reference())


def function(x):
    return x


class Plain:
    """No dataclass: what it holds is not known."""


REFUSED = {
    r"what\.scale must be data, got the function function.*equinox": Scaled(1, function, ()),
    r"what\[0\] must be data, got the function <lambda>": [lambda: 1],
    r"what\['a'\]\.inner must be made of arrays.* got Plain": {"a": Scaled(Plain(), 1.0, ())},
    r"what must be made of arrays.* got set": {1},
    r"what must have texts or whole numbers as keys, got \(1, 2\)": {(1, 2): 3},
    r"what must hold numbers of 8 to 64 bits.*bfloat16": jnp.ones(2, jnp.bfloat16),
    r"what must hold numbers of 8 to 64 bits.*object": np.array([{}]),
    r"what must hold numbers of 8 to 64 bits.*<U1": np.array(["a"]),
    r"what must be made of arrays.*MaskedArray": np.ma.ones(2),
    r"what must have a type of its own.*\(2,\)": jnp.full(2, 1.0),
    r"what\[0\] must be of a class that .*internal to ratelike": [_GivenSpikes()],
}  # fmt: skip


@pytest.mark.parametrize(("message", "what"), REFUSED.items())
def test_what_cannot_be_kept_is_named(message, what, tmp_path):
    with pytest.raises(ValueError, match=message):
        rl.save(tmp_path / "kept", what)
    assert not list(tmp_path.iterdir())


def test_values_that_are_not_known_yet_and_trees_without_end(tmp_path):
    with pytest.raises(ValueError, match=r"what\[0\] must have a value.*jax\.jit"):
        jax.jit(lambda x: rl.save(tmp_path / "kept", [x]))(1.0)
    endless = []
    endless.append(endless)
    with pytest.raises(ValueError, match="what must be a tree"):
        rl.save(tmp_path / "kept", endless)
    for path, message in {
        3: "path must be the path of a file, got 3",
        tmp_path: "path must name a file.*a folder",
        tmp_path / "no" / "kept": "path must lie in a folder that exists",
    }.items():
        with pytest.raises(ValueError, match=message):
            rl.save(path, 1)


def test_a_file_that_is_spoilt_anywhere_is_refused(tmp_path):
    path = tmp_path / "kept"
    rl.save(path, {"network": rl.Network([layer()])})
    content = path.read_bytes()
    generator = np.random.default_rng(0)
    places = [*range(0, 90, 3), *generator.integers(90, len(content), 40)]
    for place in places:
        spoilt = bytearray(content)
        spoilt[place] ^= 1 << generator.integers(8)
        refused(path, bytes(spoilt), "path must name a file")
    for length in (0, 5, 91, 200, len(content) - 1):
        refused(path, content[:length], "path must name a file")
    refused(path, content + b"\0", "does not match its digest: it is damaged")
    refused(path, content.replace(b"file 1", b"file 2"), "format 2, which a later")
    refused(path, b"ratelike fit 2, sha256 ", "does not begin as one")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "b")
    refused(path, path.read_bytes(), "does not begin as one")
    path.unlink()
    with pytest.raises(FileNotFoundError):
        rl.load(path)
    with pytest.raises(ValueError, match=r"path must name a file.*is none"):
        rl.load(tmp_path)


def refused(path, content, message):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        rl.load(path)
    assert str(path) in str(caught.value)


def forged(path, tree, arrays=(), content=b""):
    """A file with a right digest that `save` has not written."""
    body = json.dumps({"arrays": arrays, "tree": tree}).encode() + b"\n" + content
    digest = hashlib.sha256(body).hexdigest()
    path.write_bytes(f"ratelike file 1, sha256 {digest}\n".encode() + body)
    return path


def an_object(name, library, **fields):
    return {"is": "object", "class": name, "of": library, "fields": fields}


FORGED = {
    "no class": an_object("Popen", None, args="ls"),
    "a module": an_object("Popen", "subprocess", args="ls"),
    "a private class": an_object("_GivenSpikes", "ratelike"),
    "a function": an_object("simulate", "ratelike"),
    "other fields": an_object("TimeGrid", "ratelike", dt=1.0),
    "an abstract class": an_object("AbstractDrive", "ratelike"),
    "nothing known": {"is": "pickle"},
    "no array": {"is": "array", "kind": "numpy", "number": 0},
    "an array from behind": {"is": "array", "kind": "numpy", "number": -1},
    "a list as key": {"is": "dict", "entries": [[[], 1]]},
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_file_makes_nothing_but_what_it_may(name, tmp_path):
    path = forged(tmp_path / "kept", FORGED[name])
    with pytest.raises(ValueError, match=re.escape(str(path))):
        rl.load(path)


@pytest.mark.parametrize(
    "arrays",
    [
        [["|O", [1]]],
        [["<f8", [2**40]]],
        [["<f8", [-1, -1]]],
        [["<f8", [0]]],
        [["<V8", [1]]],
        [["<f8", 1]],
        3,
    ],
)
def test_forged_arrays(arrays, tmp_path):
    path = forged(tmp_path / "kept", 1, arrays, bytes(8))
    with pytest.raises(ValueError, match="whose content is none"):
        rl.load(path)


def test_classes_are_named_by_the_caller_and_may_gain_defaults(tmp_path):
    path = tmp_path / "kept"
    rl.save(path, Scaled([jnp.ones(2)], 2.0, ()))
    with pytest.raises(ValueError, match=r"classes must name Scaled.*load\(path, cl"):
        rl.load(path)
    more = [("more", int, dataclasses.field(default=3))]
    fields = [("inner", object), ("scale", float), ("shape", tuple)]
    gained = dataclasses.make_dataclass("Scaled", fields + more)
    assert rl.load(path, classes=[gained]).more == 3
    for changed in (fields[:2], [*fields, ("other", int)]):
        kind = dataclasses.make_dataclass("Scaled", changed)
        with pytest.raises(ValueError, match=r"is a Scaled of another version.*now"):
            rl.load(path, classes=[kind])
    for classes, message in {
        (gained, Scaled): ".*two called Scaled",
        (Plain,): "be dataclasses",
        (3,): "be dataclasses",
    }.items():
        with pytest.raises(ValueError, match=f"classes must {message}"):
            rl.load(path, classes=classes)
    with pytest.raises(ValueError, match="classes must list classes"):
        rl.load(path, classes=Scaled)


def test_64_bits_are_not_cut_in_half(tmp_path):
    path = tmp_path / "kept"
    rl.save(path, {"a": jnp.arange(3.0), "b": np.arange(3.0)})
    message = r"what\['a'\].*float64.*jax_enable_x64"
    with jax.enable_x64(False):
        with pytest.raises(ValueError, match=message):
            rl.load(path)
        rl.save(path, (jnp.arange(3.0), jnp.asarray(2.0), np.arange(3.0)))
        narrow = rl.load(path)
        assert [each.dtype for each in narrow] == ["float32", "float32", "float64"]
    wide = rl.load(path)
    assert [each.dtype for each in wide] == ["float32", "float32", "float64"]
    assert wide[1].weak_type


def test_loading_imports_nothing_that_the_file_names(tmp_path):
    """In a fresh process, where the module of the user's class is not known."""
    rl.save(tmp_path / "kept", Scaled(1, 2.0, ()))
    script = "import sys, ratelike as rl\ntry:\n    rl.load(sys.argv[1])\nexcept ValueError as error:\n    print(error)\n"
    script += "assert not any(name.startswith('tests') for name in sys.modules)"
    command = [sys.executable, "-c", script, str(tmp_path / "kept")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "classes must name Scaled" in done.stdout
