"""Sweeps: interrupted, damaged, shared and refused, against runs that nothing disturbed."""

import functools
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import filelock
import jax
import numpy as np
import pytest

import ratelike as rl
from ratelike._study._sweep._cell_file import DamagedCell, read_cell
from ratelike._study._sweep._description import describe, hash_of
from tests.processes import sweep_study
from tests.processes.sweep_study import AXES, CELLS, GRID, plain, projection, relay, run

ROOT = Path(__file__).parents[2]
SCRIPT = """
import jax
jax.config.update("jax_enable_x64", True)
from tests.processes import sweep_study
sweep_study.run({folder!r}, {options})
"""


def start(folder, log, *, stop=CELLS, together=1, options=""):
    """A fresh interpreter that runs the sweep, waits for others, and stays in its cell number `stop` for ever."""
    waits = dict(SWEEP_LOG=log, SWEEP_STOP=stop, SWEEP_TOGETHER=together)
    environment = os.environ | {name: str(value) for name, value in waits.items()}
    script = SCRIPT.format(folder=str(folder), options=options)
    command = [sys.executable, "-W", "error", "-c", script]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment | {"JAX_PLATFORMS": "cpu"}
    )


def wait_until(condition, process):
    while not condition():
        assert process.poll() is None, "ended early"
        time.sleep(0.02)


def calls(log):
    return log.read_text().split() if log.exists() else []


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def cells(folder):
    return list(folder.glob("cells/*.npz"))


def assert_same(result, other):
    """Bitwise, the numbers and their types."""
    assert [cell.parameters for cell in result.cells] == [
        cell.parameters for cell in other.cells
    ]
    for cell, expected in zip(result.cells, other.cells, strict=True):
        assert set(cell.values) == set(expected.values)
        for name, values in cell.values.items():
            assert values.dtype == expected.values[name].dtype
            np.testing.assert_array_equal(values, expected.values[name])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return run(tmp_path_factory.mktemp("undisturbed"))


def test_values_are_those_of_networks_made_one_by_one(undisturbed):
    """A trial depends on the key, its point and its number; the parts of an axis's name and value are hashed."""
    import hashlib

    assert len(undisturbed.cells) == CELLS
    assert undisturbed.complete
    seen = set()
    for cell in undisturbed.cells:
        text = json.dumps(cell.parameters, sort_keys=True)
        digest = hashlib.sha256(text.encode()).digest()
        key = jax.random.key(7)
        for start_byte in (0, 4):
            word = int.from_bytes(digest[start_byte : start_byte + 4], "little")
            key = jax.random.fold_in(key, np.uint32(word))
        keys = jax.random.split(jax.random.fold_in(key, cell.block))
        expected = projection(plain(**cell.parameters, key=keys[0]), GRID, keys[1])
        for name, values in expected.items():
            np.testing.assert_array_equal(cell.values[name][0], values)
        seen.add(float(cell.values["spread"][0]))
    assert len(seen) == CELLS, "trials share their random numbers"


def test_points_do_not_depend_on_what_else_is_swept(undisturbed, tmp_path):
    alone = run(tmp_path, axes={"num_neurons": [100], "num_latents": [3]}, num_trials=1)
    (cell,) = alone.cells
    (same,) = (
        c for c in undisturbed.cells if c.parameters == cell.parameters and c.block == 0
    )
    np.testing.assert_array_equal(cell.values["trace"], same.values["trace"])


def test_killed_and_run_again_is_the_same_bit_for_bit(undisturbed, tmp_path):
    """kill -9 in the third cell, and again in the third that is left; the running cell is lost, and no other."""
    folder, log = tmp_path / "sweep", tmp_path / "log"
    for begun in (3, 6):
        process = start(folder, log, stop=2)
        wait_until(lambda begun=begun: len(calls(log)) == begun, process)
        kill(process)
        assert (
            len(cells(folder))
            == len(rl.study.read_sweep(folder).cells)
            == begun // 3 * 2
        )
    before = {path: path.stat().st_mtime_ns for path in cells(folder)}
    assert_same(run(folder), undisturbed)
    for path, written in before.items():
        assert path.stat().st_mtime_ns == written, "a finished cell was done again"


def test_what_a_kill_leaves_half_written_is_removed(undisturbed, tmp_path):
    (tmp_path / "cells").mkdir()
    leftover = tmp_path / "cells" / "000003.npz.0123456789abcdef.part"
    leftover.write_bytes(b"half of a cell")
    assert_same(run(tmp_path), undisturbed)
    assert not leftover.exists()
    assert not list(tmp_path.glob("**/*.part"))


def test_two_processes_share_a_folder(undisturbed, tmp_path):
    folder, log = tmp_path / "sweep", tmp_path / "log"
    processes = [start(folder, log, together=2) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert len(calls(log)) == CELLS, "a cell was done twice"
    assert len(set(calls(log))) == 2, "one process did it all"
    assert_same(rl.study.read_sweep(folder), undisturbed)


def test_the_cell_of_a_killed_process_is_taken_over(undisturbed, tmp_path):
    """The other process is waiting for that very cell."""
    folder, log = tmp_path / "sweep", tmp_path / "log"
    stuck = start(folder, log, stop=0)
    wait_until(lambda: len(calls(log)) == 1, stuck)
    waiting = start(folder, tmp_path / "other log")
    wait_until(lambda: len(cells(folder)) == CELLS - 1, waiting)
    time.sleep(1.0)
    assert waiting.poll() is None, "did not wait for the claimed cell"
    assert not rl.study.read_sweep(folder).complete
    kill(stuck)
    assert waiting.wait() == 0
    assert_same(rl.study.read_sweep(folder), undisturbed)


def test_claims_by_files_and_heartbeat(undisturbed, tmp_path):
    """For file systems without locks: any claim of the filelock package can be passed."""
    claim = functools.partial(filelock.SoftFileLease, lease_duration=30)
    assert_same(run(tmp_path, claim=claim), undisturbed)


def first_cell(folder):
    return Path(folder) / "cells" / "000000.npz"


DAMAGES = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "one bit": lambda content: content.replace(b"\x93NUMPY", b"\x93NUMPX", 1),
    "noise": lambda content: os.urandom(len(content)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_damaged_cells_are_done_again(damage, undisturbed, tmp_path):
    run(tmp_path)
    path = first_cell(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    assert len(rl.study.read_sweep(tmp_path).cells) == CELLS - 1
    with pytest.warns(UserWarning, match=r"000000\.npz.*computed again"):
        assert_same(run(tmp_path), undisturbed)
    assert_same(run(tmp_path), undisturbed)


def test_a_cell_of_another_place_is_damaged(undisturbed, tmp_path):
    run(tmp_path)
    path = first_cell(tmp_path)
    path.write_bytes(path.with_name("000001.npz").read_bytes())
    with pytest.warns(UserWarning, match="another sweep or another cell"):
        assert_same(run(tmp_path), undisturbed)


def test_no_flipped_byte_passes_for_another_number(tmp_path):
    """Every third byte of a cell file changed in turn: the file is refused, or what it says is unchanged."""
    result = run(tmp_path, axes={"num_neurons": [2], "num_latents": [1]}, num_trials=1)
    (cell,) = result.cells
    content = first_cell(tmp_path).read_bytes()
    read = functools.partial(read_cell, configuration=result.manifest["hash"], index=0)
    scratch = tmp_path / "scratch.npz"
    refused = 0
    for position in range(0, len(content), 3):
        flipped = bytearray(content)
        flipped[position] ^= 0x10
        scratch.write_bytes(flipped)
        try:
            again = read(scratch)
        except DamagedCell:
            refused += 1
            continue
        assert again.facts == cell.facts
        for name, values in cell.values.items():
            np.testing.assert_array_equal(again.values[name], values, strict=True)
    assert refused > 0.8 * len(content) / 3
    for length in range(0, len(content), 50):
        scratch.write_bytes(content[:length])
        with pytest.raises(DamagedCell):
            read(scratch)


def other_plain(num_neurons, num_latents=3, *, key):
    network = plain(num_neurons, num_latents, key=key)
    return rl.Network([network.layers[0]], output_tau_m=20e-3)


@pytest.mark.parametrize(
    ("changed", "options"),
    {
        "num_trials was 2, is 3": dict(num_trials=3),
        r"key.data was \[0, 7\], is \[0, 8\]": dict(key=jax.random.key(8)),
        "axes was": dict(axes={"num_neurons": [64]}),
        "measure.class was": dict(measure=projection),
    }.items(),
)
def test_another_configuration_is_refused(changed, options, tmp_path):
    run(tmp_path)
    before = sorted(path.name for path in tmp_path.glob("**/*"))
    with pytest.raises(ValueError, match=f"(?s)begun with another one; .*{changed}"):
        run(tmp_path, **options)
    assert sorted(path.name for path in tmp_path.glob("**/*")) == before


def test_another_network_or_grid_is_refused(tmp_path):
    run(tmp_path)
    arguments = dict(
        axes=AXES, num_trials=2, key=jax.random.key(7), measure=sweep_study.Logged()
    )
    with pytest.raises(ValueError, match=r"grid\.fields\.dt was 0\.0005, is 0\.001"):
        rl.sweep(plain, rl.TimeGrid(1e-3, 40), folder=tmp_path, **arguments)
    with pytest.raises(ValueError, match=r"make_network\.source \(the code itself\)"):
        rl.sweep(other_plain, GRID, folder=tmp_path, **arguments)


def test_other_versions_warn(undisturbed, tmp_path):
    run(tmp_path)
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    assert set(manifest["environment"]) >= {
        *("ratelike", "jax", "jaxlib", "diffrax", "equinox", "numpy", "python"),
        "device",
    }
    manifest["environment"]["jax"] = "0.1.0"
    path.write_text(json.dumps(manifest))
    with pytest.warns(UserWarning, match=r'jax was "0\.1\.0"'):
        assert_same(run(tmp_path), undisturbed)
    manifest["configuration"]["num_trials"] = 3
    path.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="must match its hash"):
        run(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match=r"must hold a manifest\.json"):
        run(tmp_path)


def function(source, name="made", **outside):
    """A function from source text, as a script would define it."""
    import linecache

    file = f"<sweep test {hash(source)}>"
    lines = textwrap.dedent(source)
    linecache.cache[file] = (len(lines), None, lines.splitlines(keepends=True), file)
    scope = dict(outside, __name__="__main__")
    exec(compile(lines, file, "exec"), scope)
    return scope[name]


def test_identity_of_functions():
    original = "def made(size, *, key):\n    return width * size"
    commented = "def made(size, *,\n         key):\n    # why\n    return width * size"
    changed = original.replace("*", "+").replace("+,", "*,")
    same = hash_of(describe(function(original, width=2)))
    assert hash_of(describe(function(commented, width=2))) == same
    others = [
        function(changed, width=2),
        function(original, width=3),  # data from outside
        function(original.replace("made", "other"), "other", width=2),
        function(original.replace("size,", "size=1,"), width=2),
        functools.partial(function(original, width=2), 3),
    ]
    hashes = [hash_of(describe(other)) for other in others]
    assert len({same, *hashes}) == len(others) + 1


def test_identity_follows_helpers_closures_and_objects():
    def closure(bound):
        def inner(key):
            return bound

        return inner

    def pair(first, second):
        return hash_of(describe(first)), hash_of(describe(second))

    helper = "def helper():\n    return {}\ndef made(key):\n    return helper()"
    for first, second in [
        pair(closure(1), closure(2)),
        pair(closure(np.zeros(3)), closure(np.array([0, 0, 1e-9]))),
        pair(closure(rl.SRM0()), closure(rl.SRM0(tau_m=11e-3))),
        pair(function(helper.format(1)), function(helper.format(2))),
        pair(lambda key: 1, lambda key: 2),
        pair(jax.random.key(0), jax.random.key(1)),
        pair(jax.random.key(0), jax.random.key(0, impl="rbg")),
        pair(np.zeros(100), np.arange(100.0)),
    ]:
        assert first != second
    assert describe(closure(rl.SRM0())) == describe(closure(rl.SRM0()))
    with pytest.raises(ValueError, match="cannot tell"):
        describe(closure(object()))


def test_identity_of_a_class_is_that_of_its_methods_and_bases():
    source = """
    def helper():
        return {}
    class Base:
        def width(self):
            return helper() + {}
    class made(Base):
        def __call__(self, key):
            return self.width()
    """
    hashes = {
        hash_of(describe(function(source.format(*numbers))()))
        for numbers in [(1, 1), (2, 1), (1, 2), (1, 1)]
    }
    # Classes that are made by `exec` have no source to read: their bytecode is.
    assert len(hashes) == 3


def test_identity_is_the_same_in_another_process():
    script = """
    from tests.study.test_sweep import identity_of_much
    print(identity_of_much())
    """
    environment = dict(os.environ, PYTHONHASHSEED="5", JAX_PLATFORMS="cpu")
    # conftest's setting, which changes the type of the neuron's parameters.
    script = "import jax; jax.config.update('jax_enable_x64', True)" + textwrap.dedent(
        script
    )
    command = [sys.executable, "-W", "error", "-c", script]
    printed = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    assert printed.stdout.strip() == identity_of_much()


def identity_of_much():
    things = [relay, sweep_study.Logged(), {"b", "a", "c"}, rl.GeneralisedRate()]
    things += [rl.SRM0(), functools.partial(relay, num_latents=2), GRID, jax.jit(relay)]
    # Sets of strings are ordered by a hash that each process draws anew.
    things += [lambda key: key in {"a", "b", "c", "d"}]
    return hash_of(describe([*things, lambda key: things]))


FAST = rl.ConventionalRate(rl.DirectRate())


class Noise(rl.extend.AbstractDrive):
    num_latents: int
    key: jax.Array

    def __init__(self, network, key):
        self.num_latents, self.key = network.layers[0].num_latents, key

    def increments(self, grid):
        return jax.random.normal(self.key, (grid.num_steps, self.num_latents)) * 0.01


@pytest.mark.slow
def test_trials_are_those_of_convergence(tmp_path):
    """With num_neurons alone, bit for bit; sizes that fill their tiles and that do not. Then as a Dataset.

    Rates and a drive that compile fast: only the bookkeeping is compared.
    """
    sizes = [64, 100]
    arguments = dict(
        num_trials=2, key=jax.random.key(3), burn_in=10, make_drive=Noise,
        dynamics=rl.study.ComparedDynamics(generalised=FAST, conventional=FAST),
    )  # fmt: skip
    expected = rl.convergence(
        lambda size, key: relay(size, key=key), sizes, GRID, **arguments
    )
    result = rl.sweep(
        relay, GRID, axes={"num_neurons": sizes}, folder=tmp_path, **arguments
    )
    rebuilt = rl.study.from_dataset(result.dataset())
    for study in (result.convergence(), rebuilt):
        assert study.sizes == expected.sizes
        for name in ("generalised", "conventional", "rates"):
            for errors, same in zip(
                getattr(study, name).values, getattr(expected, name).values, strict=True
            ):
                np.testing.assert_array_equal(errors, same, strict=True)
    assert result.cells[0].neuron_steps == 2 * 64 * GRID.num_steps


def test_errors_that_are_not_finite_end_the_sweep_and_keep_what_is_done(tmp_path):
    def measure(network, grid, key):
        if network.layers[0].num_neurons == 100:
            raise FloatingPointError("boom")
        return projection(network, grid, key)

    with pytest.raises(FloatingPointError, match="boom") as caught:
        run(tmp_path, measure=measure)
    assert "num_neurons=100" in caught.value.__notes__[0]
    assert 2 <= len(rl.study.read_sweep(tmp_path).cells) < CELLS


def test_devices_and_workers(tmp_path):
    """Cells run on the devices given, and the numbers do not change: two virtual devices in a fresh interpreter."""
    script = f"""
    import jax
    jax.config.update("jax_enable_x64", True)
    from tests.processes.sweep_study import run, projection
    used = []
    def measure(network, grid, key):
        used.append((network.layers[0].encoder.devices(), key.devices()))
        return projection(network, grid, key)
    assert len(jax.local_devices()) == 2
    result = run({str(tmp_path)!r}, measure=measure, workers=2)
    used = [devices for pair in used for devices in pair]
    assert set.union(*used) == set(jax.local_devices()), used
    assert all(len(devices) == 1 for devices in used)
    """
    flags = "--xla_force_host_platform_device_count=2"
    environment = dict(os.environ, XLA_FLAGS=flags, JAX_PLATFORMS="cpu")
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


def test_devices_do_not_change_numbers(undisturbed, tmp_path):
    assert_same(run(tmp_path, workers=3), undisturbed)


def test_named_objects_as_axis(tmp_path):
    def make_network(neuron, *, key):
        return rl.Network([rl.Layer(neuron, np.ones((2, 1)), np.ones((2, 1)))])

    def tau(network, grid, key):
        return {"tau": network.layers[0].neuron.tau_m}

    axes = {"neuron": {"slow": rl.SRM0(tau_m=20e-3), "fast": rl.SRM0(tau_m=5e-3)}}
    arguments = dict(num_trials=1, key=jax.random.key(0), folder=tmp_path, measure=tau)
    result = rl.sweep(make_network, GRID, axes=axes, **arguments)
    assert [float(cell.values["tau"][0]) for cell in result.cells] == [20e-3, 5e-3]
    assert result.axes == {"neuron": ["slow", "fast"]}
    axes["neuron"]["slow"] = rl.SRM0(tau_m=30e-3)
    with pytest.raises(ValueError, match=r"axes was"):
        rl.sweep(make_network, GRID, axes=axes, **arguments)


def test_progress(tmp_path):
    shown = []

    def wrapper(cells):
        shown.append(len(cells))
        return cells

    run(tmp_path, progress=wrapper)
    run(tmp_path, progress=wrapper)
    assert shown == [CELLS, 0]

    lines = io.StringIO()
    folder = tmp_path / "other"
    run(folder, progress=rl.study.Progress("latents", interval=0.0, file=lines))
    printed = lines.getvalue().splitlines()
    assert len(printed) == CELLS
    assert printed[2].startswith("latents: 3/8, 0:0")
    assert all(line.endswith(" neuron-steps/s") for line in printed)
    speed = float(printed[-1].split(", ")[-1].split()[0])
    assert speed > 0.0


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Done:
    neuron_steps = 1000


def test_progress_bar_and_lines_at_intervals():
    bar, rare = Terminal(), io.StringIO()
    assert len(list(rl.study.Progress("cells", file=bar)([Done()] * 3))) == 3
    assert "3/3" in bar.getvalue()
    assert "neuron-steps/s" in bar.getvalue()
    list(rl.study.Progress(interval=1e6, file=rare)(iter([Done()] * 5)))
    assert len(rare.getvalue().splitlines()) == 1
    rare = io.StringIO()
    list(rl.study.Progress(interval=1e6, file=rare)([Done()] * 5))
    assert [line.split(",")[0] for line in rare.getvalue().splitlines()] == [
        "cells: 1/5",
        "cells: 5/5",
    ]


def measured(value):
    return dict(measure=lambda network, grid, key: value)


@pytest.mark.parametrize(
    ("message", "options"),
    {
        r"num_trials must be a whole number": dict(num_trials=0),
        r"key must be a typed JAX random key, got None": dict(key=None),
        r"axes must be an instance of Mapping": dict(axes=[64]),
        r"axes must be named after parameters .* got 'key'": dict(axes={"key": [1]}),
        r"axes\['num_neurons'\] must hold at least one": dict(axes={"num_neurons": []}),
        r"must hold values that differ": dict(axes={"num_neurons": [2, 2]}),
        r"must be a whole number of at least 1, got 2.5": dict(
            axes={"num_neurons": [2.5]}
        ),
        r"must hold finite numbers, got nan": dict(axes={"num_latents": [np.nan]}),
        r"must hold values of one kind": dict(axes={"num_latents": [2, "a"]}),
        r"must hold numbers or strings, .* got SRM0": dict(axes={"neuron": [rl.SRM0()]}),
        r"make_network must take num_neurons, bias, key": dict(
            axes={"num_neurons": [2], "bias": [1.0]}
        ),
        r"burn_in must not be given beside measure": dict(burn_in=3),
        r"make_drive must not be given beside measure": dict(make_drive=print),
        r"burn_in must be less than the number of steps, 40": dict(
            burn_in=40, measure=None
        ),
        r"measure must be a function": dict(measure=3),
        r"workers must be a whole number": dict(workers=0),
        r"devices must hold at least one": dict(devices=[]),
        r"measure must return a dict of arrays, got 3": measured(3),
        r"measure must return a dict of arrays, got \{\}": measured({}),
        r"measure must return real numbers, got <U1": measured({"a": "b"}),
    }.items(),
)  # fmt: skip
def test_refuses(message, options, tmp_path):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, **options)


def test_bad_networks_are_refused_before_the_folder_is_made(tmp_path):
    arguments = dict(num_trials=1, key=jax.random.key(0), folder=tmp_path / "new")
    with pytest.raises(ValueError, match=r"must return a ratelike\.Network"):
        rl.sweep(lambda *, key: 3, GRID, axes={}, **arguments)
    with pytest.raises(ValueError, match=r"dead_time .* dt = 0\.0003"):
        rl.sweep(relay, rl.TimeGrid(0.3e-3, 9), axes={"num_neurons": [2]}, **arguments)
    drive = functools.partial(wide_drive, 5)
    with pytest.raises(ValueError, match=r"make_drive .*\(40, 3\).* got \(40, 5\)"):
        rl.sweep(relay, GRID, axes={"num_neurons": [2]}, make_drive=drive, **arguments)
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match="folder must hold a sweep"):
        rl.study.read_sweep(tmp_path)


def wide_drive(num_latents, network, key):
    return rl.WienerDrive(num_latents, tau_m=10e-3, key=key)


@pytest.mark.slow
def test_killed_convergence_sweep_is_the_same_bit_for_bit(tmp_path):
    """The default measurement, with kills at any moment, in the middle of compiling and of simulating."""
    options = "sweep_study.relay, measure=None, burn_in=10"
    expected = run(tmp_path / "undisturbed", relay, measure=None, burn_in=10)
    folder, moments = tmp_path / "sweep", np.random.default_rng(0)
    for _ in range(6):
        process = start(folder, tmp_path / "log", options=options)
        try:
            process.wait(timeout=moments.uniform(2.0, 20.0))
        except subprocess.TimeoutExpired:
            kill(process)
    assert_same(run(folder, relay, measure=None, burn_in=10), expected)
