"""The coarsest age mesh whose measured error keeps to a tolerance."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._density._age_mesh import POINTS, AgeMesh, limited_widths, steepness
from ratelike._density._age_shift import AgeShift
from ratelike._dynamics._generalised import GeneralisedRate
from ratelike._dynamics._trajectory import Trajectory
from ratelike._inputs import checked_inputs
from ratelike._network import AbstractLayer, Layer, Network
from ratelike._network._feedback import Feedback, each_feedback
from ratelike._network._streamed import StreamedLayer
from ratelike._neuron import chosen_neurons
from ratelike._numerics._broadcasting import broadcasts
from ratelike._numerics._tile_random import TILE
from ratelike._signal._drive import Input, grid_increments
from ratelike._signal._grid import TimeGrid
from ratelike._simulate import simulate

# What is measured: so many neurons of each layer, and so many steps of the input.
NEURONS, STEPS = 2 * TILE, 1000
# Of the tolerance; the rest is left to other neurons and other stretches of the input.
AIM = 0.5
# Of the aim; a coarser mesh is looked for below it.
ENOUGH = 0.2
# The potentials at which the steepness of the hazard is looked at, as quantiles of those that occur.
QUANTILES = (0.5, 0.9, 0.99, 1.0)
MOST_TRIES = 6


@broadcasts
def fitted_age_mesh(
    network: Network,
    increments: Input,
    grid: TimeGrid,
    tolerance: float = 1e-3,
) -> AgeMesh:
    r"""The coarsest `AgeMesh` of its kind whose *measured* error is below `tolerance`.

    Of each layer 128 neurons from all over the population, and of the input the 1000 steps in which it changes most,
    are solved with exact ages and with a mesh whose bins are narrow where the hazard is steep at the potentials that
    occurred; the widths are scaled until the error is below, but not far below, half of `tolerance`. The error is the
    largest of: the root mean square error of the neurons' rates relative to the root mean square rate, in each layer;
    and the mean absolute error of the outputs relative to their standard deviation. Where nothing coarser holds, the
    mesh is uniform.

    The same mesh serves a study over network sizes: fit it to a network of any size. Costs a second or two for each
    mesh that is tried, mostly of compiling; one to three are usual.

        mesh = rl.fitted_age_mesh(network, drive, grid, 1e-3)
        rl.convergence(..., generalised=rl.GeneralisedRate(rl.AgeShift(mesh)))

    `increments` are as in `simulate`. Raises `ValueError` as that does, unless `tolerance` > 0, and for a network or
    input that is being traced.
    """
    tolerance = validation.number("tolerance", tolerance, above=0.0)
    path = checked_inputs(network, increments, grid, GeneralisedRate()).path
    if not validation.is_concrete((network, path)):
        raise ValueError(
            "network and increments must be concrete for fitted_age_mesh: make the mesh outside jit"
        )
    if all(layer.neuron.memory == 0.0 for layer in network.layers):
        return AgeMesh.uniform()  # of one bin
    increments = grid_increments(path, grid, network.layers[0].dtype)
    layers = [_sample(layer) for layer in network.layers]
    sample = Network(layers, network.output_tau_m)
    increments = _stretch(increments)
    grid = TimeGrid(grid.dt, len(increments))

    def run(mesh: AgeMesh) -> Trajectory:
        dynamics = GeneralisedRate(AgeShift(mesh))
        record = {i: range(layer.num_neurons) for i, layer in enumerate(layers)}
        return simulate(sample, increments, grid, dynamics, record=record)

    exact = run(AgeMesh.uniform())
    widths = _widths_of_scale_one(layers, exact, grid.dt)
    marked = any(_has_mark(layer) for layer in layers)
    order, aim = 2.0 if marked else 4.0, AIM * tolerance
    best, held, too_coarse = AgeMesh.uniform(), 0.0, np.inf  # the latter two are scales
    scale = aim ** (1.0 / order)
    for _ in range(MOST_TRIES):
        mesh = AgeMesh(tuple(float(w) for w in scale * widths))
        error = _error(exact, run(mesh))
        if error <= aim:
            best, held = mesh, scale
        else:
            too_coarse = scale
        if error <= aim and error > ENOUGH * aim:
            break
        if held > 0.0 and np.isfinite(too_coarse):
            scale = np.sqrt(held * too_coarse)
        else:
            factor = (0.7 * aim / max(error, 1e-6 * aim)) ** (1.0 / order)
            scale = scale * min(max(factor, 0.3), 4.0)
    return best


def _has_mark(layer: Layer) -> bool:
    return layer.neuron.expected.mark(jnp.zeros(())) is not None


def _sample(layer: AbstractLayer) -> Layer:
    """Neurons from all over the population."""
    if layer.num_neurons <= NEURONS:
        return layer.stored()
    if isinstance(layer, StreamedLayer):  # its neurons are alike
        return layer.first(NEURONS).stored()
    layer = layer.stored()
    chosen = np.linspace(0, layer.num_neurons - 1, NEURONS).astype(np.int32)
    feedback = [
        Feedback(
            each.encoder[chosen],
            each.decoder[chosen],
            each.delay,
            each.self_connection,
            synapse=each.synapse,
        )
        for each in each_feedback(layer.feedback)
    ]
    return Layer(
        chosen_neurons(layer.neuron, jnp.asarray(chosen)),
        layer.encoder[chosen],
        layer.decoder[chosen],
        layer.bias[chosen],
        feedback or None,
        synapse=layer.synapse,
        node_weights=None if layer.node_weights is None else layer.node_weights[chosen],
    )


def _stretch(increments: Float[Array, "time latents"]) -> Float[Array, "time latents"]:
    """Where most happens."""
    power = np.cumsum(np.sum(np.asarray(increments, float) ** 2, axis=1))
    if len(power) <= STEPS:
        return increments
    of_windows = power[STEPS:] - power[:-STEPS]
    first = int(np.argmax(of_windows)) + 1
    return increments[first : first + STEPS]


def _widths_of_scale_one(
    layers: list[Layer], exact: Trajectory, dt: float
) -> np.ndarray:
    """Of equal error everywhere, as far as it is known beforehand: width^2 times the steepness of the hazard is 1."""
    widths = np.full(POINTS, np.inf)
    for index, layer in enumerate(layers):
        if layer.neuron.memory == 0.0:
            continue
        recording = exact.recordings[index]
        potentials = np.quantile(np.asarray(recording.potential), QUANTILES)
        steep = steepness(layer.neuron, potentials, dt)
        widths = np.minimum(widths, limited_widths(layer.neuron, steep, 1.0))
    return widths


def _error(exact: Trajectory, other: Trajectory) -> float:
    """The largest of: root mean square errors of the neurons' rates in each layer, mean absolute error of the outputs.

    The former in units of the root mean square rate, the latter of the outputs' standard deviation.
    """
    errors = []
    for index, recording in exact.recordings.items():
        rates = np.asarray(recording.activity, float)
        apart = np.asarray(other.recordings[index].activity, float) - rates
        errors.append(np.sqrt(np.mean(apart**2) / np.maximum(np.mean(rates**2), 1e-30)))
    outputs = np.asarray(exact.outputs, float)
    apart = np.abs(np.asarray(other.outputs, float) - outputs)
    errors.append(np.mean(apart) / np.maximum(np.std(outputs), 1e-30))
    return float(np.max(errors))
