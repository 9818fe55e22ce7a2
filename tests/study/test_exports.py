"""Spikes and outputs in the types of other packages; their statistics are those of NumPy. Skipped without the packages."""

import jax
import numpy as np
import pytest

import ratelike as rl

GRID = rl.TimeGrid(2e-3, 500, first_step=100)


@pytest.fixture(scope="module")
def trajectory():
    network = rl.relay_network(
        rl.SRM0(), num_neurons=20, num_latents=2, depth=1, key=jax.random.key(0), bias=2.0
    )  # fmt: skip
    increments = rl.WienerDrive(2, key=jax.random.key(1)).increments(GRID)
    record = {0: (rl.Spikes(), rl.Traces([3, 8], every=10))}
    return rl.simulate(
        network, increments, GRID, rl.Spiking(), key=jax.random.key(2), record=record
    )


def intervals(trajectory, neuron):
    """From the bits, by step numbers."""
    fired = trajectory.spikes[0].activity[:, neuron]
    return np.diff(np.flatnonzero(fired)) * GRID.dt


def test_neo(trajectory):
    pytest.importorskip("neo")
    trains = rl.study.to_neo(trajectory, 0)
    assert len(trains) == 20
    for neuron, train in enumerate(trains):
        assert train.annotations == {"layer": 0, "neuron": neuron}
        ours = trajectory.spike_times(0)[neuron]
        np.testing.assert_array_equal(train.rescale("s").magnitude, ours)
        assert float(train.t_start) == pytest.approx(0.2)
        assert float(train.t_stop.rescale("ms")) == pytest.approx(1200.0)


@pytest.mark.filterwarnings("ignore:The 'copy' argument in Quantity")
def test_elephant(trajectory):
    statistics = pytest.importorskip("elephant.statistics")
    trains = rl.study.to_neo(trajectory, 0)
    for neuron, train in enumerate(trains):
        isi = statistics.isi(train).rescale("s").magnitude
        expected = intervals(trajectory, neuron)
        np.testing.assert_allclose(isi, expected, rtol=1e-9)
        assert statistics.cv(isi) == pytest.approx(expected.std() / expected.mean())
    counts = trajectory.spikes[0].counts
    assert statistics.fanofactor(trains) == pytest.approx(counts.var() / counts.mean())


def test_pynapple(trajectory):
    pytest.importorskip("pynapple")
    group = rl.study.to_pynapple(trajectory, 0)
    assert list(group.index) == list(range(20))
    for neuron, train in enumerate(trajectory.spike_times(0)):
        np.testing.assert_allclose(group[neuron].times(), train)
    counts = trajectory.spikes[0].counts
    np.testing.assert_allclose(group.rates, counts / GRID.duration)
    binned = np.asarray(group.count(bin_size=0.1))
    fired = trajectory.spikes[0].activity.reshape(10, 50, 20)
    np.testing.assert_array_equal(binned, fired.sum(axis=1))


def test_dataframe(trajectory):
    pandas = pytest.importorskip("pandas")
    frame = rl.study.to_dataframe(trajectory)
    np.testing.assert_array_equal(frame.to_numpy(), trajectory.outputs)
    np.testing.assert_allclose(frame.index, 0.2 + 2e-3 * np.arange(1, 501))
    pairs = pandas.DataFrame(trajectory.spikes[0].pairs._asdict())
    counts = pairs.groupby("neurons").size()
    np.testing.assert_array_equal(counts, trajectory.spikes[0].counts)
    batch = jax.tree.map(lambda leaf: leaf[None], trajectory)
    with pytest.raises(ValueError, match=r"trajectory\.outputs must have shape"):
        rl.study.to_dataframe(batch)


def test_dataset(trajectory):
    pytest.importorskip("xarray")
    dataset = rl.study.to_dataset(trajectory)
    times = dataset["spike_time_0"].to_numpy()
    for neuron, train in enumerate(trajectory.spike_times(0)):
        here = dataset["spike_neuron_0"].to_numpy() == neuron
        np.testing.assert_array_equal(times[here], train)
    np.testing.assert_allclose(dataset["step_middle"], dataset["time"] - 1e-3)
    assert dataset["activity_0"].dims == ("time_0", "neuron_0")
    np.testing.assert_allclose(dataset["time_0"], 0.21 + 0.02 * np.arange(50))
    np.testing.assert_array_equal(dataset["activity_0"].sum("time_0"), trajectory.spikes[0].counts[[3, 8]])  # fmt: skip


def test_without_the_package(trajectory, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "neo", None)
    with pytest.raises(ImportError, match=r"needs neo: pip install 'ratelike\[neo\]'"):
        rl.study.to_neo(trajectory, 0)
