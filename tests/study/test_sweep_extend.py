"""Sweeps that get more trials and values: what is finished stays, and all is as if it had been asked for at once."""

import functools
import json

import jax
import numpy as np
import pytest

import ratelike as rl
from tests.processes.sweep_study import AXES, GRID, projection, relay, run

# A value before, between and behind those of AXES.
MORE = {"num_neurons": [32, 64, 80, 100], "num_latents": [2, 3, 5]}
measured = functools.partial(run, measure=projection)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.glob("cells/*.npz")}


def assert_equal(result, other):
    """The same cells in the same order, whatever their files are called."""
    assert result.axes == other.axes
    assert result.complete == other.complete
    assert len(result.cells) == len(other.cells)
    for cell, same in zip(result.cells, other.cells, strict=True):
        assert (cell.parameters, cell.block) == (same.parameters, same.block)
        assert cell.values.keys() == same.values.keys()
        for name, value in cell.values.items():
            np.testing.assert_array_equal(value, same.values[name], strict=True)


def test_an_extended_sweep_is_one_that_was_asked_for_at_once(tmp_path):
    folder, all_of_it = tmp_path / "extended", dict(axes=MORE, num_trials=3)
    measured(folder, num_trials=1)
    begun = manifest(folder)
    assert begun["format"] == 3
    for step in (dict(num_trials=2), all_of_it):
        before = files(folder)
        result = measured(folder, extend=True, **step)
        assert before.items() <= files(folder).items()
        assert len(files(folder)) == len(result.cells) > len(before)
    assert_equal(result, measured(tmp_path / "at once", **all_of_it))
    assert_equal(rl.study.read_sweep(folder), result)
    # Without the word, and with it in a folder that has all.
    written = manifest(folder)
    for extend in (False, True):
        assert_equal(measured(folder, extend=extend, **all_of_it), result)
    assert manifest(folder) == written
    assert (written["format"], written["begun"]) == (4, begun["begun"])
    # A cell that is lost is computed again, in its place.
    (folder / "cells" / "000019.npz").unlink()
    assert not rl.study.read_sweep(folder).complete
    assert_equal(measured(folder, **all_of_it), result)


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def test_a_process_that_runs_the_smaller_sweep_goes_on(tmp_path):
    """The larger one is begun while cells of the smaller one are missing."""

    def meanwhile(cells):
        measured(tmp_path, extend=True, num_trials=3, workers=1)
        yield from cells

    assert len(measured(tmp_path, progress=meanwhile, num_trials=1).cells) == 4
    assert rl.study.read_sweep(tmp_path).complete


@pytest.mark.parametrize(
    ("message", "options"),
    {
        "num_trials was 2, is 1.*adds trials and values": dict(num_trials=1),
        r"axes was .*adds trials": dict(axes={"num_neurons": [64], "num_latents": [2, 3, 4]}),
        "changed: axes was": dict(axes={"num_neurons": AXES["num_neurons"]}),
        r"changed: version was null, is 3\. ": dict(version=3, num_trials=5),
        r"changed: key\.data was": dict(key=jax.random.key(1), axes=MORE),
        "extend must be": dict(extend=1),
    }.items(),
)  # fmt: skip
def test_what_may_not_change_is_refused(message, options, tmp_path):
    measured(tmp_path)
    before = (tmp_path / "manifest.json").read_bytes()
    with pytest.raises(ValueError, match=message):
        measured(tmp_path, **{"extend": True, **options})
    assert (tmp_path / "manifest.json").read_bytes() == before


def test_without_the_word_more_is_refused_and_the_word_is_named(tmp_path):
    measured(tmp_path)
    for options in (dict(num_trials=3), dict(axes=MORE)):
        with pytest.raises(ValueError, match=r"changed: .* with extend=True"):
            measured(tmp_path, **options)


def named(neuron, *, key):
    weights = np.ones((2, 4, 1))
    return rl.Network([rl.Layer(neuron, *weights)])


def test_named_objects_are_compared_by_what_they_are(tmp_path):
    """Their descriptions refer to what was described before, which a value in front changes."""
    neurons = {"a": rl.SRM0(10e-3), "b": rl.SRM0(20e-3)}
    more = {"new": rl.SRM0(5e-3), **neurons}
    other = {**more, "b": rl.SRM0(30e-3)}
    measured(tmp_path, named, axes={"neuron": neurons})
    with pytest.raises(ValueError, match=r"changed: axes was"):
        measured(tmp_path, named, axes={"neuron": other}, extend=True)
    extended = measured(tmp_path, named, axes={"neuron": more}, extend=True)
    assert_equal(extended, measured(tmp_path / "new", named, axes={"neuron": more}))


@pytest.mark.slow
def test_larger_sizes_keep_the_cells_of_convergence(tmp_path):
    """The budget stays; a network that is larger has a cell by itself."""
    errors = functools.partial(
        rl.sweep, relay, GRID, key=jax.random.key(3), num_trials=2, burn_in=4
    )
    small, large = {"num_neurons": [64, 128]}, {"num_neurons": [64, 128, 192]}
    begun = errors(axes=small, folder=tmp_path / "extended")
    extended = errors(axes=large, folder=tmp_path / "extended", extend=True)
    budget = rl.study.SweepExecution(budget=128)
    fresh = errors(axes=large, folder=tmp_path / "new", execution=budget)
    assert_equal(extended, fresh)
    assert [len(each) for each in extended.convergence().rates.values] == [4, 2, 2]
    again = errors(axes=large, folder=tmp_path / "extended")
    assert_equal(again, extended)
    # The trials themselves are those of a new folder with its own budget, which has more of them.
    most = errors(axes=large, folder=tmp_path / "most").convergence()
    for size, values in enumerate(extended.convergence().generalised.values):
        same = most.generalised.values[size][: len(values)]
        np.testing.assert_array_equal(values, same)
    assert len(begun.cells) == 4
