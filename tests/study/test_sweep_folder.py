"""What a sweep's folder may hold besides sound cells of the same sweep, and how processes must agree on it."""

import functools
import io
import json
import os
import shutil
import threading
import zipfile

import filelock
import jax
import numpy as np
import pytest

import ratelike as rl
from ratelike._study._sweep import _runner
from ratelike._study._sweep._cell_file import DamagedCell, read_cell
from tests.processes.sweep_study import CELLS, plain, run
from tests.study.test_sweep import assert_same, first_cell

ONE = dict(axes={"num_neurons": [2], "num_latents": [1]}, num_trials=1)
LEASE = functools.partial(filelock.SoftFileLease, lease_duration=30)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swept")
    run(folder)
    return folder


@pytest.fixture
def folder(swept, tmp_path):
    """A copy of a finished sweep, to be spoilt."""
    return shutil.copytree(swept, tmp_path / "sweep")


def test_x64_makes_another_sweep(folder):
    message = r"precision\.jax_enable_x64 was true, is false"
    with jax.enable_x64(False), pytest.raises(ValueError, match=message):
        run(folder)


def any_size(size, width, *, key):
    return plain(2, 1, key=key)


@pytest.mark.parametrize("begun", [1, 1.0, True])
def test_types_in_the_manifest_make_another_sweep(begun, tmp_path):
    """1, 1.0 and True are equal in Python, and not the same to a program."""

    def start(value, width):
        make_network = functools.partial(any_size, width=width)
        run(tmp_path, make_network, axes={"size": [value]}, num_trials=1)

    start(begun, begun)
    start(begun, begun)
    for other in (value for value in (1, 1.0, True) if type(value) is not type(begun)):
        was, now = json.dumps(begun), json.dumps(other)
        message = rf"axes was .*\[{was}\].*, is .*\[{now}\]"
        with pytest.raises(ValueError, match=message):
            start(other, begun)
        with pytest.raises(ValueError, match=rf"keywords\.width was {was}, is {now}"):
            start(begun, other)


def test_copies_of_cells_are_not_counted(swept, folder):
    path = first_cell(folder)
    for name in ("0", "0_0", "+0", " 0", "0000000", "٠", "000000 (copy)", "²"):
        shutil.copy(path, path.with_name(f"{name}.npz"))
    result = rl.study.read_sweep(folder)
    assert_same(result, rl.study.read_sweep(swept))
    assert result.complete
    path.unlink()
    assert not rl.study.read_sweep(folder).complete
    assert len(rl.study.read_sweep(folder).cells) == CELLS - 1


def edit_manifest(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_formats(swept, folder):
    edit_manifest(folder, format=5, hash="computed in another way")
    message = "must be of format 4 or an earlier one, got format 5 of a later ratelike"
    for read in (run, rl.study.read_sweep):
        with pytest.raises(ValueError, match=message):
            read(folder)
    edit_manifest(folder, format=1, hash=rl.study.read_sweep(swept).manifest["hash"])
    assert_same(rl.study.read_sweep(folder), rl.study.read_sweep(swept))
    with pytest.raises(ValueError, match=r"must be of format 3 to go on.*format 1"):
        run(folder)
    # Formats 1 and 2 called `num_trials` otherwise.
    manifest = rl.study.read_sweep(swept).manifest
    configuration = manifest["configuration"] | {"trials": 2}
    del configuration["num_trials"]
    manifest = manifest | {"configuration": configuration}
    old = rl.study.SweepResult(rl.study.read_sweep(swept).cells, manifest)
    assert old.complete
    assert not rl.study.SweepResult(old.cells[1:], manifest).complete
    for nonsense in (None, "2", [2]):
        edit_manifest(folder, format=nonsense)
        with pytest.raises(ValueError, match="must be a sweep's manifest"):
            rl.study.read_sweep(folder)


@pytest.mark.parametrize("content", ["", "3", "[]", "{}", "[" * 100_000, '{"hash": 1}'])
def test_manifests_that_are_none(content, folder):
    (folder / "manifest.json").write_text(content)
    for read in (run, rl.study.read_sweep):
        with pytest.raises(
            ValueError, match=r"manifest\.json must be a sweep's manifest"
        ):
            read(folder)


def test_all_processes_must_claim_alike(swept, folder, tmp_path):
    """What a released flock leaves behind would be held for ever in the eyes of a lease."""
    first_cell(folder).unlink()
    message = r'begun with, \{"kind": "\w+FileLock"\}, got .*"SoftFileLease".*delete'
    with pytest.raises(ValueError, match=message):
        run(folder, claim=LEASE)
    shutil.rmtree(folder / "locks")
    assert_same(run(folder, claim=LEASE), rl.study.read_sweep(swept))
    with pytest.raises(ValueError, match="claim must be the one"):
        run(folder)
    other = functools.partial(filelock.SoftFileLease, lease_duration=31)
    with pytest.raises(ValueError, match=r'"lease_duration": 30\.0.*31\.0'):
        run(folder, claim=other)
    run(folder, claim=lambda path: LEASE(path))


class Busy(filelock.FileLock):
    """Held by others, a few times."""

    attempts = 0

    def acquire(self, *arguments, **options):
        Busy.attempts += 1
        if Busy.attempts < 4:
            raise filelock.Timeout(self.lock_file)
        return super().acquire(*arguments, **options)


def test_long_waits_are_told_once(tmp_path, monkeypatch):
    monkeypatch.setattr(_runner, "LOOK_AGAIN", 0.0)
    monkeypatch.setattr(_runner, "LONG", 0.0)
    message = r"waiting for 1 cells .* cell 0 \(num_neurons=2, .*delete .*locks"
    with pytest.warns(UserWarning, match=message) as caught:
        run(tmp_path, claim=Busy, **ONE)
    assert Busy.attempts == 4
    assert len(caught) == 1


def pipe(path, cell):
    os.mkfifo(path)


def device(path, cell):
    """As /dev/zero, which would fill the memory of a run of this test that fails."""
    path.symlink_to("/dev/null")


def directory(path, cell):
    path.mkdir()


def compressed(path, cell):
    """The same arrays and checksum, with a member of 64 MB of zeros beside them that takes 64 kB."""
    with (
        zipfile.ZipFile(io.BytesIO(cell)) as old,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
        new.writestr("zeros.npy", bytes(2**26))
    assert path.stat().st_size < 2**18


def overlapping(path, cell):
    """A directory that gives a member the size of 1 TB."""
    with zipfile.ZipFile(path, "w") as new, zipfile.ZipFile(io.BytesIO(cell)) as old:
        for name in old.namelist():
            new.writestr(name, old.read(name))
        new.writestr("zeros.npy", b"")
        new.infolist()[-1].file_size = 2**40


def other_sweep(path, cell):
    """Facts of another sweep, and arrays that are not even looked at."""
    with zipfile.ZipFile(io.BytesIO(cell)) as old, zipfile.ZipFile(path, "w") as new:
        facts = json.loads(str(np.load(io.BytesIO(old.read("facts.npy")))))
        text = io.BytesIO()
        np.save(text, np.asarray(json.dumps(facts | {"configuration": "another"})))
        new.writestr("facts.npy", text.getvalue())
        new.writestr("values/trace.npy", b"no array")
        new.writestr("sha256.npy", old.read("sha256.npy"))


IMPOSTORS = {
    pipe: "is not a regular file",
    device: "is not a regular file",
    directory: "is not a regular file",
    compressed: "is compressed",
    overlapping: "parts are larger than the file",
    other_sweep: "is of another sweep",
}


@pytest.mark.parametrize(("make", "message"), IMPOSTORS.items())
def test_files_that_are_no_cells_cost_nothing(make, message, swept, folder):
    path = first_cell(folder)
    content = path.read_bytes()
    path.unlink()
    make(path, content)
    configuration = rl.study.read_sweep(swept).manifest["hash"]
    with watched(path) as opened:
        with pytest.raises(DamagedCell, match=message):
            read_cell(path, configuration=configuration, index=0)
        assert not opened.is_set(), "a pipe was opened, which waits for ever"
    result = rl.study.read_sweep(folder)
    assert len(result.cells) == CELLS - 1
    if make is not directory:
        with pytest.warns(
            UserWarning, match=rf"000000\.npz.*{message}.*computed again"
        ):
            assert_same(run(folder), rl.study.read_sweep(swept))
        assert path.is_file()
        assert not path.is_symlink()


class watched:
    """Is told if anybody opens a pipe for reading, and lets go on whoever does."""

    def __init__(self, path):
        self.path, self.opened = path, threading.Event()
        self.thread = threading.Thread(target=self.write, daemon=True)

    def write(self):
        with self.path.open("wb"):
            self.opened.set()

    def __enter__(self):
        if self.path.is_fifo():
            self.thread.start()
        return self.opened

    def __exit__(self, *exception):
        if self.thread.is_alive():
            end = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
            self.thread.join()
            os.close(end)


def test_a_manifest_that_is_a_pipe(folder):
    path = folder / "manifest.json"
    path.unlink()
    os.mkfifo(path)
    with watched(path) as opened:
        with pytest.raises(ValueError, match="not a regular file"):
            rl.study.read_sweep(folder)
        assert not opened.is_set()


@pytest.mark.parametrize(
    ("message", "options"),
    {
        "claim must be a function of the path": dict(claim=lambda: 3),
        "claim must be a function of a path, got 3": dict(claim=3),
        "claim must return a lock .* got 4": dict(claim=lambda path: 4),
        "progress must be a function of an iterable, got 3": dict(progress=3),
        "make_drive must be a function of .* got 'abc'": dict(make_drive="abc", measure=None),
        "version must be a text or a whole number, got 1.5": dict(version=1.5),
        "version must be a text or a whole number, got True": dict(version=True),
    }.items(),
)  # fmt: skip
def test_refuses(message, options, tmp_path):
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


def test_refuses_folders_that_are_none(tmp_path):
    for function in (run, rl.study.read_sweep):
        with pytest.raises(ValueError, match="folder must be a path, got 3"):
            function(3)
    file = tmp_path / "file"
    file.write_text("text")
    with pytest.raises(ValueError, match="folder must be a directory"):
        run(file)
    with pytest.raises(ValueError, match="folder must hold a sweep"):
        rl.study.read_sweep(file)
