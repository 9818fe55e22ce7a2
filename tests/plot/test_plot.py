"""Pictures: the data and the words that are drawn, not how they look."""

import dataclasses
import subprocess
import sys

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.image import AxesImage

import ratelike as rl
from ratelike._density._state import RefractoryDensity

SIZES = (64, 256, 1024)
DT = 0.5e-3


@pytest.fixture
def ax():
    with rl.plot.style():
        figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def study(sizes=SIZES, trials=3):
    generator = np.random.default_rng(0)

    def curve(exponent):
        noise = np.exp(0.01 * generator.normal(size=(len(sizes), trials)))
        return rl.study.SizeCurve(
            sizes, tuple(n**exponent * e for n, e in zip(sizes, noise, strict=True))
        )

    return rl.study.Convergence(curve(-0.5), curve(-0.1), curve(0.0))


def lines(ax):
    return {line.get_label(): line.get_xydata() for line in ax.lines}


def test_convergence(ax):
    data = study()
    assert rl.plot.convergence(data, unit="mV", ax=ax) is ax
    drawn = {label.split(" rate")[0]: xy for label, xy in lines(ax).items()}
    for name in ("generalised", "conventional"):
        expected = np.transpose([SIZES, getattr(data, name).mean()])
        np.testing.assert_allclose(drawn[f"to {name}"], expected)
    guide = lines(ax)["slope −1/2"]
    slope = np.diff(np.log(guide[[0, -1], 1])) / np.diff(np.log(guide[[0, -1], 0]))
    np.testing.assert_allclose(slope, -0.5)
    fit = data.generalised.slope()
    text = (
        f"to generalised rate: slope {fit.value:.2f} [{fit.lower:.2f}, {fit.upper:.2f}]"
    )
    assert text.replace("-", "−") in lines(ax)
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert "neurons" in ax.get_xlabel()
    assert ax.get_ylabel().endswith("(mV)")
    assert [t.get_text() for t in ax.get_xticklabels()] == ["64", "256", "1024"]
    # The 95% intervals.
    lower, upper = data.generalised.confidence_interval()
    band = ax.collections[1].get_paths()[0].vertices
    for size, low, high in zip(SIZES, lower, upper, strict=True):
        here = band[np.isclose(band[:, 0], size), 1]
        np.testing.assert_allclose([here.min(), here.max()], [low, high])
    low, high = ax.get_ylim()
    means = np.concatenate([data.generalised.mean(), data.conventional.mean()])
    assert low < means.min() < means.max() < high


def test_convergence_sorts_fits_from_and_takes_single_trials(ax):
    data = study(sizes=(1024, 64, 256), trials=1)
    rl.plot.convergence(data, fit_from=256, ax=ax)
    (generalised,) = (xy for label, xy in lines(ax).items() if "generalised" in label)
    np.testing.assert_array_equal(generalised[:, 0], SIZES)
    np.testing.assert_array_equal(lines(ax)["slope −1/2"][:, 0], [256, 1024])
    fit = data.generalised.slope(256)
    assert f"to generalised rate: slope −{-fit.value:.2f}" in lines(ax)
    one = rl.plot.convergence(study(sizes=(64,)))
    assert "to generalised rate" in lines(one)
    assert "slope −1/2" not in lines(one)
    one.figure.canvas.draw()


def test_convergence_draws_named_curves(ax):
    data = study()
    curves = {"p = 2": data.conventional, "p = 8": data.generalised}
    rl.plot.convergence(curves, digits=3, ax=ax)
    fit = data.generalised.slope()
    text = f"p = 8: slope {fit.value:.3f} [{fit.lower:.3f}, {fit.upper:.3f}]"
    drawn = lines(ax)[text.replace("-", "−")]
    np.testing.assert_allclose(drawn, np.transpose([SIZES, data.generalised.mean()]))
    # Just below the first curve.
    guide = lines(ax)["slope −1/2"]
    np.testing.assert_allclose(guide[0, 1], 0.8 * data.conventional.mean()[0])
    assert len({line.get_color() for line in ax.lines}) == 3


def test_a_dynamics_has_its_colour(ax):
    gains = jnp.ones((3, 1, 1), complex)
    of_kinds = {"conventional rate": gains, "mine": gains, "generalised": gains}
    rl.plot.bode([1.0, 2.0, 4.0], of_kinds, ax=ax)
    colors = {line.get_label(): line.get_color() for line in ax.lines}
    assert colors["generalised"] == rl.plot.COLORS["generalised"]
    assert colors["conventional rate"] == rl.plot.COLORS["conventional"]
    assert len(set(colors.values())) == 3


def test_many_sizes_do_not_crowd_their_labels(ax):
    sizes = tuple(16 * 2**k for k in range(20))
    rl.plot.convergence(study(sizes=sizes), ax=ax)
    assert len(ax.get_xticks()) <= 10


def trajectory(steps=100, *, activity=None, neurons=(4, 8, 6)):
    generator = np.random.default_rng(1)
    if activity is None:
        activity = generator.random((steps, len(neurons))) < 0.1
    recording = rl.extend.Recording(
        jnp.asarray(neurons),
        jnp.zeros((steps, len(neurons))),
        jnp.asarray(activity, float),
    )
    return rl.Trajectory(
        outputs=jnp.asarray(generator.normal(size=(steps, 2))),
        increments=jnp.zeros((1, steps, 2)),
        rates=jnp.zeros((1, steps)),
        recordings={1: recording},
        saved=(None,),
        succeeded=jnp.ones(1, bool),
        grid=rl.TimeGrid(DT, steps),
    )


def test_traces(ax):
    first, second = trajectory(), trajectory(steps=60)
    named = {"spiking": first, "rate": second}
    assert rl.plot.traces(named, latent=1, start=10e-3, ax=ax) is ax
    for name, each in named.items():
        times = np.asarray(each.times)
        shown = times > 10e-3
        expected = np.transpose([1e3 * times[shown], each.outputs[shown, 1]])
        np.testing.assert_allclose(lines(ax)[name], expected)
    assert ax.get_xlabel() == "time (ms)"
    assert ax.get_ylabel() == "membrane $y_{2}$"
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["spiking", "rate"]
    assert len({line.get_color() for line in ax.lines}) == 2


def test_raster(ax):
    data = trajectory()
    assert rl.plot.raster(data, 1, ax=ax) is ax
    activity = np.asarray(data.recordings[1].activity)
    for row, train in enumerate(ax.collections):
        middles = 1e3 * (data.times - 0.5 * data.grid.dt)
        np.testing.assert_allclose(train.get_positions(), middles[activity[:, row] > 0])
        assert train.get_lineoffset() == row
    assert len(ax.collections) == 3
    # As on the screen: the first neuron on top, and nothing outside.
    heights = ax.transData.transform([(0.0, row) for row in range(3)])[:, 1]
    assert np.all(np.diff(heights) < 0.0)
    assert ax.get_ylim() == (2.5, -0.5)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["4", "8", "6"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time (ms)", "neuron of layer 1")
    assert ax.get_xlim() == (0.0, 50.0)


@pytest.mark.parametrize("most_lines", [3, 2])
def test_raster_of_bits(ax, monkeypatch, most_lines):
    """Bits of the same spikes give the same marks, as lines or as pixels."""
    monkeypatch.setattr(rl.plot._raster, "MOST_LINES", most_lines)
    data = trajectory()
    activity = np.asarray(data.recordings[1].activity)
    words = jnp.asarray((activity @ [1, 2, 4]).astype(np.uint32)[None])
    grid = rl.TimeGrid(DT, 100, first_step=20)
    spikes = rl.extend.SpikeTrains(jnp.array([4, 8, 6]), words, grid)
    bits = dataclasses.replace(data, recordings={}, spikes={1: spikes}, grid=grid)
    rl.plot.raster(bits, 1, ax=ax)
    step, row = np.nonzero(activity)
    expected = sorted(zip(row, 1e3 * DT * (20.5 + step), strict=True))
    if most_lines == 3:
        each = enumerate(ax.collections)
        drawn = [(row, t) for row, train in each for t in train.get_positions()]
    else:
        times, rows = ax.lines[0].get_data()
        drawn = list(zip(rows, times, strict=True))
    np.testing.assert_allclose(sorted(drawn), expected)
    np.testing.assert_allclose(ax.get_xlim(), (10.0, 60.0))


def test_raster_of_silent_neurons_and_of_one(ax):
    rl.plot.raster(trajectory(activity=np.zeros((100, 3))), 1, ax=ax)
    one = rl.plot.raster(trajectory(neurons=(3,)), 1)
    assert [t.get_text() for t in one.get_yticklabels()] == ["3"]
    one.figure.canvas.draw()


def populations():
    """Two populations, of which a few neurons were recorded."""
    neurons = rl.Neurons(rl.SRM0(), 6, 2.0)
    layer = rl.population_layer({"exc": neurons, "inh": neurons})
    network, grid = rl.Network([layer]), rl.TimeGrid(DT, 20)
    record, key = {0: [1, 4, 7]}, jax.random.key(0)
    return rl.simulate(network, None, grid, rl.Spiking(), key=key, record=record)


def test_raster_of_populations(ax):
    rl.plot.raster(populations(), 0, ax=ax)
    colors = [train.get_color() for train in ax.collections]
    np.testing.assert_array_equal(colors[0], colors[1])
    assert np.any(colors[0] != colors[2])
    names = {t.get_text(): t.get_color() for t in ax.get_yticklabels()}
    np.testing.assert_array_equal(to_rgba(names["inh"]), colors[2])
    assert ax.get_yticks().tolist() == [0.5, 2.0]


def test_rates_of_populations(ax):
    run = populations()
    named = {"spiking": run, "again": run}
    assert rl.plot.rates(named, bin=2 * DT, ax=ax) is ax
    rates = np.asarray(run.population_rates[0]["inh"]).reshape(10, 2).mean(axis=1)
    expected = np.transpose([1e3 * DT * (2 * np.arange(10) + 1), rates])
    np.testing.assert_allclose(lines(ax)["inh, again"], expected)
    assert len(lines(ax)) == 4
    alone = rl.plot.rates(named, populations=["exc"])
    assert list(lines(alone)) == ["spiking", "again"]
    assert alone.get_ylabel() == "mean rate of exc (Hz)"
    with pytest.raises(ValueError, match=r"populations must be some of .*'exc', 'inh'"):
        rl.plot.rates(named, populations=["pv"])
    with pytest.raises(ValueError, match="bin must be a multiple of the step"):
        rl.plot.rates(named, bin=1.5 * DT)
    with pytest.raises(ValueError, match="populations must be some of"):
        rl.plot.rates({"unnamed": trajectory()})


@pytest.mark.parametrize("neuron", [None, 1])
def test_density(ax, neuron):
    """Probabilities per bin become densities per second; the bin of all older ages is left out."""
    times = np.array([2.0, 4.0, 6.0]) * DT
    bins = np.random.default_rng(2).dirichlet(np.ones(5), size=(3, 2)).swapaxes(1, 2)
    assert rl.plot.density((times, bins), age_step=DT, neuron=neuron, ax=ax) is ax
    (mesh,) = ax.collections
    shown = bins.mean(axis=2) if neuron is None else bins[:, :, neuron]
    np.testing.assert_allclose(mesh.get_array(), shown[:, :-1].T / DT)
    corners = mesh.get_coordinates()
    np.testing.assert_allclose(corners[0, :, 0], 1e3 * np.array([1, 3, 5, 7]) * DT)
    np.testing.assert_allclose(corners[:, 0, 1], 1e3 * DT * (np.arange(5) + 0.5))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time (ms)", "age (ms)")
    assert mesh.colorbar.ax.get_ylabel() == "density $q$ (1/s)"
    zeros = jnp.zeros((3, 2))
    at_times = jax.vmap(lambda h, q, r: RefractoryDensity(h, q, None, r))
    whole = at_times(zeros, jnp.asarray(bins), zeros)
    same = rl.plot.density((times, whole), age_step=DT, neuron=neuron)
    np.testing.assert_allclose(same.collections[0].get_array(), mesh.get_array())


def network(sizes=(6, 6, 6)):
    generator = np.random.default_rng(3)
    layers = [
        rl.Layer(
            rl.SRM0(5e-3 + 10e-3 * generator.random(size)),
            *generator.normal(size=(2, size, 2)),
        )
        for size in sizes
    ]
    return rl.Network(layers)


def test_weights(ax):
    data = network()
    assert rl.plot.weights(data, 1, ax=ax) is ax
    (image,) = (each for each in ax.get_children() if isinstance(each, AxesImage))
    tau_m = np.asarray(data.layers[2].neuron.tau_m)[:, None]
    jumps = np.asarray(data.weights(1)) / tau_m
    np.testing.assert_allclose(image.get_array(), jumps)
    assert image.get_clim() == pytest.approx(
        (-np.abs(jumps).max(), np.abs(jumps).max())
    )
    assert ax.get_xlabel() == "from neuron $j$ of layer 1"
    assert ax.get_ylabel() == "to neuron $i$ of layer 2"
    few = rl.plot.weights(data, 1, num_neurons=4)
    (image,) = (each for each in few.get_children() if isinstance(each, AxesImage))
    np.testing.assert_allclose(image.get_array(), jumps[:4, :4])
    assert [t.get_text() for t in few.get_xticklabels()] == ["1", "4"]


@pytest.mark.parametrize("num_neurons", [200, 5, 2])
def test_weights_between_layers_of_different_size(ax, num_neurons):
    """Neuron i of the receiving layer in row i, j of the sending one in column j: W written as a sum."""
    data = network((7, 4, 3))
    rl.plot.weights(data, 0, num_neurons=num_neurons, ax=ax)
    (image,) = (each for each in ax.get_children() if isinstance(each, AxesImage))
    before, after = data.layers[:2]
    encoder, decoder = np.asarray(after.encoder), np.asarray(before.decoder)
    weights = np.array([[np.dot(e, d) / 7 for d in decoder] for e in encoder])
    jumps = weights / np.asarray(after.neuron.tau_m)[:, None]
    rows, columns = min(num_neurons, 4), min(num_neurons, 7)
    np.testing.assert_allclose(image.get_array(), jumps[:rows, :columns])
    # Cells are of width 1, centred at their numbers from 0 on, the first row on top; the ends bear the names.
    assert tuple(image.get_extent()) == (-0.5, columns - 0.5, rows - 0.5, -0.5)
    assert ax.get_xlim() == (-0.5, columns - 0.5)
    assert ax.get_ylim() == (rows - 0.5, -0.5)
    for axis, number in ((ax.xaxis, columns), (ax.yaxis, rows)):
        np.testing.assert_array_equal(axis.get_ticklocs(), [-0.5, number - 0.5])
        assert [t.get_text() for t in axis.get_ticklabels()] == ["1", f"{number}"]


def test_what_shows_figures_in_a_notebook_outlives_the_style():
    # It is loaded with the first figure, which is often made within the style.
    assert not mpl.is_interactive()
    size = mpl.rcParams["font.size"]
    try:
        with rl.plot.style():
            mpl.interactive(True)
        assert mpl.is_interactive()
        assert mpl.rcParams["font.size"] == size != 9.0
    finally:
        mpl.interactive(False)


def test_own_figure_is_in_the_style_and_the_callers_is_not_changed():
    before = dict(mpl.rcParams)
    ax = rl.plot.traces({"a": trajectory()})
    assert isinstance(ax, Axes)
    assert not ax.spines["top"].get_visible()
    assert ax.xaxis.label.get_fontsize() == 9
    assert not ax.get_legend().get_frame_on()
    assert dict(mpl.rcParams) == before


BAD = {
    "convergence must be an instance": lambda: rl.plot.convergence(3),
    "convergence must name at least one": lambda: rl.plot.convergence({}),
    "fit_from must be": lambda: rl.plot.convergence(study(), fit_from=0),
    "ax must be an instance of Axes": lambda: rl.plot.traces(
        {"a": trajectory()}, ax=np.zeros(2)
    ),
    "trajectories must name": lambda: rl.plot.traces({}),
    "trajectories must be an instance of Mapping": lambda: rl.plot.traces(trajectory()),
    "latent must be less than the 2": lambda: rl.plot.traces(
        {"a": trajectory()}, latent=2
    ),
    r"start must be before the end of 'a' at 0\.05 s": lambda: rl.plot.traces(
        {"a": trajectory()}, start=0.05
    ),
    r"layer must be one of those recorded, \[1\]": lambda: rl.plot.raster(
        trajectory(), 0
    ),
    r"trajectory must be one of Spiking\(\)": lambda: rl.plot.raster(
        trajectory(activity=np.full((100, 3), 0.01)), 1
    ),
    "saved must be a pair": lambda: rl.plot.density(None, age_step=DT),
    r"saved\[1\] must have shape \(3, ages, neurons\)": lambda: rl.plot.density(
        (np.arange(3.0), np.zeros((2, 4, 1))), age_step=DT
    ),
    "at least two times and two ages": lambda: rl.plot.density(
        (np.arange(3.0), np.zeros((3, 1, 1))), age_step=DT
    ),
    "increasing times": lambda: rl.plot.density(
        (np.zeros(3), np.zeros((3, 4, 1))), age_step=DT
    ),
    "neuron must be less than the 1": lambda: rl.plot.density(
        (np.arange(3.0), np.zeros((3, 4, 1))), age_step=DT, neuron=1
    ),
    "age_step must be finite and greater than 0": lambda: rl.plot.density(
        (np.arange(3.0), np.zeros((3, 4, 1))), age_step=0.0
    ),
    "layer must have a next one: at most 1": lambda: rl.plot.weights(network(), 2),
    "network must be an instance of Network": lambda: rl.plot.weights(None, 0),
}


@pytest.mark.parametrize(("message", "call"), BAD.items(), ids=list(BAD))
def test_refuses(message, call):
    with pytest.raises(ValueError, match=message):
        call()
    assert not plt.get_fignums(), "left an empty figure"


def test_plot_is_there_without_being_imported():
    script = """
import sys, ratelike as rl
assert "matplotlib" not in sys.modules
assert callable(rl.plot.raster)
assert "matplotlib.pyplot" not in sys.modules, "chose a window system"
try:
    rl.nothing
except AttributeError as error:
    assert "nothing" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)
