"""Datasets: what goes in comes out, in memory and through a netCDF file, with units."""

import subprocess
import sys
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import ratelike as rl
from tests.processes.sweep_study import AXES, CELLS, GRID, plain, run


def ragged(dtype=np.float64, sizes=(64, 128, 1024), trials=(4, 2, 1)):
    generator = np.random.default_rng(0)

    def curve():
        return rl.study.SizeCurve(
            sizes, tuple(generator.random(count).astype(dtype) for count in trials)
        )

    return rl.study.Convergence(curve(), curve(), curve())


def through_file(dataset, tmp_path):
    """Written with xarray's own choice of backend, and opened without a word about it."""
    path = tmp_path / "result.nc"
    dataset.to_netcdf(path)
    with xr.open_dataset(path) as opened:
        return opened.load()


def assert_same(study, expected):
    assert study.sizes == expected.sizes
    for name in ("generalised", "conventional", "rates"):
        pairs = zip(
            getattr(study, name).values, getattr(expected, name).values, strict=True
        )
        for errors, same in pairs:
            np.testing.assert_array_equal(errors, same, strict=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_convergence_survives_a_file_bit_for_bit(dtype, tmp_path):
    study = ragged(dtype)
    # An error that is itself NaN is not taken for padding.
    study.generalised.values[0][3] = np.nan
    dataset = through_file(rl.study.to_dataset(study, {"seed": 3}), tmp_path)
    assert_same(rl.study.from_dataset(dataset), study)
    assert dict(dataset.sizes) == {"num_neurons": 3, "trial": 4}
    np.testing.assert_array_equal(dataset["trials"], [4, 2, 1])
    assert dataset["error_generalised"].dtype == dtype
    assert np.isnan(dataset["rate"].sel(num_neurons=1024)[1:]).all()
    assert dataset["rate"].attrs["units"] == "Hz"
    assert dataset["error_conventional"].attrs["units"] == "1"
    assert dataset.attrs["seed"] == 3
    assert dataset.attrs["ratelike_version"] == rl.__version__


def test_one_size_and_shuffled_sizes():
    study = ragged()
    dataset = rl.study.to_dataset(study)
    one = rl.study.from_dataset(dataset.sel(num_neurons=128))
    np.testing.assert_array_equal(one.rates.values[0], study.rates.values[1])
    assert_same(rl.study.from_dataset(dataset.isel(num_neurons=[2, 0, 1])), study)


def test_what_is_no_convergence_is_refused():
    dataset = rl.study.to_dataset(ragged())
    with pytest.raises(ValueError, match="none called rate"):
        rl.study.from_dataset(dataset.drop_vars("rate"))
    stacked = xr.concat([dataset, dataset], dim="num_latents")
    with pytest.raises(ValueError, match="one point of its other dimensions, num_lat"):
        rl.study.from_dataset(stacked)
    with pytest.raises(ValueError, match=r"must be a ratelike\.study\.Convergence or"):
        rl.study.to_dataset(3.0)  # pyright: ignore[reportArgumentType]
    study = ragged()
    study = rl.study.Convergence(study.generalised, study.conventional, ragged(trials=(4, 2, 2)).rates)  # fmt: skip
    with pytest.raises(ValueError, match="same sizes and trials"):
        rl.study.to_dataset(study)


def make_trajectory(**changes: Any):
    """Made-up numbers of two layers, of which every entry is different."""
    steps = 5
    numbers = iter(range(10**6))

    def array(*shape):
        return jnp.asarray([next(numbers) for _ in range(np.prod(shape))], float).reshape(shape)  # fmt: skip

    recording = rl.extend.Recording(jnp.array([7, 9]), array(steps, 2), array(steps, 2))
    fields = dict(
        outputs=array(steps, 3), increments=array(2, steps, 3),
        rates=array(2, steps), recordings={1: recording}, saved=(None, None),
        succeeded=jnp.array([True, False]), grid=rl.TimeGrid(1e-3, steps),
    )  # fmt: skip
    return rl.Trajectory(**(fields | changes))


def test_trajectory(tmp_path):
    trajectory = make_trajectory()
    dataset = through_file(rl.study.to_dataset(trajectory, {"seed": 1}), tmp_path)
    for name, expected, units in [
        ("time", trajectory.times, "s"),
        ("output", trajectory.outputs, "1"),
        ("increment", trajectory.increments, "s"),
        ("rate", trajectory.rates, "Hz"),
        ("potential_1", trajectory.recordings[1].potential, "potential"),
        ("activity_1", trajectory.recordings[1].activity, "1"),
    ]:
        np.testing.assert_array_equal(dataset[name], expected)
        assert dataset[name].attrs["units"] == units
    assert dataset["output"].dims == ("time", "latent")
    assert dataset["increment"].dims == ("layer", "time", "latent")
    # By label: neuron 9 of layer 1.
    np.testing.assert_array_equal(
        dataset["potential_1"].sel(neuron_1=9), trajectory.recordings[1].potential[:, 1]
    )
    assert dataset["succeeded"].values.tolist() == [True, False]


def test_trajectory_of_layers_of_different_latents_and_a_batch():
    increments = (jnp.zeros((5, 2)), jnp.ones((5, 3)))
    dataset = rl.study.to_dataset(make_trajectory(increments=increments))
    assert dataset["increment_0"].shape == (5, 2)
    assert dataset["increment_1"].dims == ("time", "latent_1")
    trajectory = make_trajectory()
    batch = jax.tree.map(lambda x: jnp.stack([x, x]), eqx.filter(trajectory, eqx.is_array))  # fmt: skip
    with pytest.raises(ValueError, match=r"one trajectory, .* shape \(2, 5, 3\)"):
        rl.study.to_dataset(batch)


def test_sweep_dataset_and_its_file(tmp_path):
    result = run(tmp_path / "sweep")
    dataset = through_file(result.dataset({"author": "me"}), tmp_path)
    assert dict(dataset.sizes) == {
        "num_neurons": 2, "num_latents": 2, "trial": 2, "trace_0": GRID.num_steps
    }  # fmt: skip
    for cell in result.cells:
        at = dict(cell.parameters, trial=cell.block)
        for name in ("spread", "trace"):
            np.testing.assert_array_equal(
                dataset[name].sel(at), cell.values[name][0], strict=False
            )
    for name, meaning in [
        ("num_neurons", "number of neurons per layer"),
        ("num_latents", "number of latents"),
    ]:
        assert dataset[name].attrs == {"units": "1", "long_name": meaning}
    for name in ("configuration", "configuration_hash", "seed", "versions", "author"):
        assert dataset.attrs[name]
    assert dataset.attrs["dt"] == GRID.dt
    assert dataset["trials"].values.tolist() == [[2, 2], [2, 2]]
    assert not any(np.isnan(dataset[name]).any() for name in ("spread", "trace"))


def test_unfinished_sweep_has_nan_where_nothing_is():
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        run(folder)
        (Path(folder) / "cells" / "000001.npz").unlink()  # (64, 3), block 0
        result = rl.study.read_sweep(folder)
    assert not result.complete
    assert len(result.cells) == CELLS - 1
    dataset = result.dataset()
    assert dataset["trials"].values.tolist() == [[2, 1], [2, 2]]
    spread = dataset["spread"].sel(num_neurons=64, num_latents=3)
    assert np.isnan(spread).values.tolist() == [False, True]


def test_sweep_as_convergences(tmp_path):
    """Errors that are made up of the parameters, so that a mixed-up point shows."""

    def measure(network, grid, key):
        encoder = network.layers[0].encoder
        code = float(10 * encoder.shape[0] + encoder.shape[1])
        return {"error_generalised": code, "error_conventional": -code, "rate": 0.5}

    result = run(tmp_path, measure=measure)
    study = result.convergence(num_latents=3)
    assert study.sizes == tuple(AXES["num_neurons"])
    for size, errors in zip(study.sizes, study.generalised.values, strict=True):
        np.testing.assert_array_equal(errors, [10.0 * size + 3.0] * 2)
    rebuilt = rl.study.from_dataset(result.dataset().sel(num_latents=3))
    assert_same(rebuilt, study)
    with pytest.raises(ValueError, match="every axis but num_neurons"):
        result.convergence()
    with pytest.raises(ValueError, match="num_latents must be one of"):
        result.convergence(num_latents=5)


def test_a_measurement_whose_shape_changes_has_no_dataset(tmp_path):
    def measure(network, grid, key):
        return {"bias": network.layers[0].bias}

    result = run(tmp_path, measure=measure)
    with pytest.raises(ValueError, match="bias must have one shape in all cells"):
        result.dataset()
    with pytest.raises(ValueError, match="measured the errors of rate networks"):
        result.convergence(num_latents=2)


def test_without_xarray_the_error_says_what_to_install():
    """A fresh interpreter in which xarray cannot be imported."""
    script = """
import sys
sys.modules["xarray"] = None
import numpy as np, ratelike as rl
curve = rl.study.SizeCurve((1,), (np.ones(1),))
try:
    rl.study.to_dataset(rl.study.Convergence(curve, curve, curve))
except ImportError as error:
    assert "ratelike[io]" in str(error), error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)


def test_a_real_trajectory():
    network = plain(3, 2, key=jax.random.key(0))
    increments = np.zeros((GRID.num_steps, 2))
    trajectory = rl.simulate(
        network, increments, GRID, rl.ConventionalRate(rl.DirectRate()), record={0: [2]}
    )
    dataset = rl.study.to_dataset(trajectory)
    np.testing.assert_allclose(dataset["time"][-1], GRID.duration)
    assert dataset["potential_0"].shape == (GRID.num_steps, 1)
