"""The convergence study: its arithmetic against single simulations, and that errors fall as they should."""

import io
from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl
from ratelike._dynamics._base import AbstractDynamics

GRID = rl.TimeGrid(0.5e-3, 80)


def relay(num_neurons, key):
    return rl.relay_network(
        rl.SRM0(), num_neurons=num_neurons, num_latents=3, depth=2, key=key
    )


def mixed(num_neurons, key):
    """Parameters that differ from neuron to neuron."""
    rate = 5.0 + 10.0 * jax.random.uniform(key, (num_neurons,))
    neuron = rl.SRM0(escape=rl.ExponentialEscape(rate))
    return rl.relay_network(
        neuron, num_neurons=num_neurons, num_latents=3, depth=2, key=key
    )


@pytest.mark.slow
@pytest.mark.parametrize("make_network", [relay, mixed])
def test_errors_are_those_of_the_networks_simulated_one_by_one(make_network):
    """Sizes that fill their tiles, that do not, and of less than one tile, in two runs.

    Of the five tiles of the budget one belongs to no network beside two networks of 100 neurons, two beside 192.
    """
    key, sizes = jax.random.key(0), (40, 100, 192)
    result = rl.convergence(
        make_network,
        sizes,
        GRID,
        num_trials=2,
        key=key,
        burn_in=20,
        execution=rl.study.Execution(budget=320),
    )
    assert result.sizes == sizes
    assert [len(errors) for errors in result.generalised.values] == [10, 4, 2]
    for size, generalised, conventional, rates in zip(
        sizes,
        result.generalised.values,
        result.conventional.values,
        result.rates.values,
        strict=True,
    ):
        for trial in range(len(generalised)):
            trial_key = jax.random.fold_in(jax.random.fold_in(key, size), trial)
            keys = jax.random.split(trial_key, 3)
            network = make_network(size, keys[0])
            drive = rl.WienerDrive(3, tau_m=10e-3, key=keys[1])
            spiking = rl.simulate(network, drive, GRID, rl.Spiking(), key=keys[2])
            for dynamics, errors in (
                (rl.GeneralisedRate(), generalised),
                (rl.ConventionalRate(), conventional),
            ):
                rate = rl.simulate(network, drive, GRID, dynamics)
                difference = np.asarray(spiking.outputs) - np.asarray(rate.outputs)
                exact = np.abs(difference[20:]).mean()
                np.testing.assert_allclose(errors[trial], exact, rtol=1e-9)
            np.testing.assert_allclose(rates[trial], spiking.rates.mean(), rtol=1e-9)


def test_mean_absolute_error_leaves_out_the_burn_in():
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 7, 5, 3))
    for burn_in in (0, 2, 4):
        exact = [np.mean([abs(x - y)[burn_in:]]) for x, y in zip(a, b, strict=True)]
        error = rl.mean_absolute_error(jnp.asarray(a), jnp.asarray(b), burn_in=burn_in)
        np.testing.assert_allclose(error, exact, rtol=1e-12)
    with pytest.raises(ValueError, match=r"burn_in must be less than .* 5, got 5"):
        rl.mean_absolute_error(jnp.asarray(a), jnp.asarray(b), burn_in=5)


class CountingRate(AbstractDynamics):
    """The conventional rate, counting how often it is traced."""

    traces: ClassVar[list[int]] = []
    needs_key: ClassVar[bool] = False

    def neurons_at_once(self, neuron, grid):
        return 128

    def check(self, name, layer, grid):
        pass

    def __call__(self, layer, path, grid, *, tile_keys, recorded):
        self.traces.append(layer.num_neurons)
        return rl.ConventionalRate()(layer, path, grid, recorded=recorded)


def test_one_program_serves_all_sizes_and_cells_are_handed_out():
    cells, shown = [], []
    counting = rl.study.ComparedDynamics(generalised=CountingRate())

    def progress(plan):
        shown.extend(plan)
        return plan

    result = rl.convergence(
        relay,
        [256, 64, 128],
        GRID,
        num_trials=2,
        key=jax.random.key(0),
        dynamics=counting,
        execution=rl.study.Execution(on_cell=cells.append, progress=progress),
    )
    first = len(CountingRate.traces)
    rl.convergence(
        relay, [256], GRID, num_trials=1, key=jax.random.key(0), dynamics=counting
    )
    assert first <= 2 * 2, "traced again for another size"
    assert len(shown) == len(cells) == 6
    assert [len(errors) for errors in result.generalised.values] == [8, 4, 2]
    collected = np.concatenate([cell.generalised for cell in cells if cell.size == 64])
    np.testing.assert_array_equal(collected, result.generalised.values[0])
    assert [cell.first_trial for cell in cells if cell.size == 64] == [0, 4]


@pytest.mark.slow
def test_trials_do_not_depend_on_the_other_sizes():
    arguments = dict(
        num_trials=1,
        key=jax.random.key(3),
        execution=rl.study.Execution(budget=128),
    )
    both = rl.convergence(relay, [64, 128], GRID, **arguments)
    alone = rl.convergence(relay, [64], GRID, **arguments)
    np.testing.assert_array_equal(
        both.generalised.values[0], alone.generalised.values[0]
    )
    different = {float(e) for errors in both.generalised.values for e in errors}
    assert len(different) == 3, "trials share their random numbers"


def test_cells_make_the_same_curves_in_any_order():
    cells = [
        rl.study.Cell(size, first, *np.full((3, 2), size + first))
        for size, first in [(64, 0), (64, 2), (32, 0), (32, 2), (32, 4)]
    ]
    one = rl.study.Convergence.from_cells(cells)
    other = rl.study.Convergence.from_cells(reversed(cells))
    assert one.sizes == other.sizes == (32, 64)
    for curve in (one.rates, other.generalised):
        np.testing.assert_array_equal(curve.values[0], [32, 32, 34, 34, 36, 36])
        np.testing.assert_array_equal(curve.values[1], [64, 64, 66, 66])


@pytest.mark.slow
def test_enough_trials_are_the_first_ones():
    arguments = dict(num_trials=3, key=jax.random.key(3))
    five = rl.study.Execution(enough_trials=5)
    everything = rl.convergence(relay, [64, 256], GRID, **arguments)
    enough = rl.convergence(relay, [64, 256], GRID, execution=five, **arguments)
    assert [len(errors) for errors in everything.generalised.values] == [12, 3]
    assert [len(errors) for errors in enough.generalised.values] == [8, 3]
    for all_of_them, first in zip(
        everything.generalised.values, enough.generalised.values, strict=True
    ):
        assert np.array_equal(all_of_them[: len(first)], first)


def test_spiking_converges_to_the_generalised_and_not_to_the_conventional_network():
    """One hidden layer: slope -1/2 within 0.07 (three standard errors); the other curve flattens."""

    def make_network(num_neurons, key):
        network = rl.relay_network(
            rl.SRM0(), num_neurons=num_neurons, num_latents=4, depth=1, key=key
        )
        return jax.tree.map(lambda x: x.astype(jnp.float32), network)

    grid = rl.TimeGrid(0.5e-3, 600)
    result = rl.convergence(
        make_network,
        [256, 512, 1024, 2048],
        grid,
        num_trials=3,
        key=jax.random.key(0),
        burn_in=100,
    )
    assert result.generalised.slope().value == pytest.approx(-0.5, abs=0.07)
    assert result.conventional.slope(min_size=512).value > -0.2
    assert result.conventional.mean()[-1] > 3 * result.generalised.mean()[-1]
    assert np.all(np.abs(np.concatenate(result.rates.values) - 16.0) < 3.0)


class Given(rl.extend.AbstractDrive):
    values: jax.Array

    def increments(self, grid):
        return self.values


@pytest.mark.parametrize(
    ("message", "drive"),
    {
        r"shape \(80, 3\) .* got \(80, 2\)": Given(jnp.zeros((80, 2))),
        r"shape \(80, 3\) .* got \(79, 3\)": Given(jnp.zeros((79, 3))),
        r"must return a drive such as .* got None": None,
        r"twice WienerDrive.resolution": rl.WienerDrive(
            3, key=jax.random.key(0), resolution=1e-3
        ),
        r"table of SignalDrive must cover the grid": rl.SignalDrive([1.0], dt=1e-3),
        r"make_drive must .* increments must .* \(80, 3\), got shape \(3,\)": [0.0] * 3,
        r"make_drive must .* must be made for the grid of 80": rl.GridPath(
            np.zeros((80, 3)), rl.TimeGrid(GRID.dt, 80, 80)
        ),
    }.items(),
)
def test_a_drive_that_does_not_fit_is_refused_before_compiling(
    message, drive, monkeypatch
):
    monkeypatch.setattr("ratelike._study._convergence.run_cell", None)
    arguments = dict(num_trials=1, key=jax.random.key(0))
    with pytest.raises(ValueError, match=message):
        rl.convergence(
            relay, [64], GRID, make_drive=lambda network, key: drive, **arguments
        )


class Packed(Exception):
    """Everything is drawn, and would be simulated now."""


def test_any_input_of_a_simulation_is_one_of_a_study(monkeypatch):
    """The same input in all its forms."""

    def packed(networks, *_):
        raise Packed(networks.increments)

    def small(num_neurons, key):
        layer = rl.Layer(
            rl.SRM0(), jnp.ones((num_neurons, 2)), jnp.ones((num_neurons, 2))
        )
        return rl.Network([layer])

    def increments_of(drive):
        with pytest.raises(Packed) as caught:
            rl.convergence(
                small,
                [4],
                GRID,
                num_trials=1,
                key=jax.random.key(0),
                make_drive=lambda *_: drive,
            )
        return caught.value.args[0][:, 0]

    monkeypatch.setattr("ratelike._study._cell.errors_of_tiles", packed)
    increments = 1e-3 * np.random.default_rng(0).normal(size=(80, 2))
    path = np.concatenate([np.zeros((1, 2)), np.cumsum(increments, axis=0)])
    two = rl.FunctionDrive(lambda t: np.full((len(t), 2), 2.0))
    held = rl.SignalDrive(increments / GRID.dt, dt=GRID.dt)
    for same in (
        increments,
        increments.tolist(),
        rl.GridPath(increments, GRID),
        diffrax.LinearInterpolation(jnp.asarray(GRID.times), jnp.asarray(path)),
        held,
        held + two - two,
    ):
        np.testing.assert_allclose(increments_of(same), increments, rtol=0, atol=1e-15)


def test_progress_of_a_study_knows_its_neuron_steps():
    cells, lines = [], io.StringIO()
    rl.convergence(
        relay,
        [64, 128],
        GRID,
        num_trials=1,
        key=jax.random.key(0),
        execution=rl.study.Execution(
            on_cell=cells.append, progress=rl.study.Progress(interval=0.0, file=lines)
        ),
    )
    # 128 neurons of the budget in each of two layers, over 80 steps.
    assert [cell.neuron_steps for cell in cells] == [2 * 128 * 80] * 2
    assert lines.getvalue().count("neuron-steps/s") == 2
    assert "0.00e+00" not in lines.getvalue()
