"""The age mesh of a layer, where the caller names none."""

import jax
import jax.numpy as jnp
import numpy as np

from ratelike import _validation as validation
from ratelike._density._age_mesh import AgeMesh
from ratelike._fluctuations._cohorts import merge_schedule
from ratelike._network import AbstractLayer
from ratelike._neuron import chosen_neurons
from ratelike._neuron._ages import num_ages
from ratelike._numerics._tile_random import TILE

# Of `AgeMesh.graded`.
TOLERANCE = 1e-3
# Of different neurons so many are looked at.
NEURONS = 2 * TILE


def age_mesh_of(age_mesh: AgeMesh | None, layer: AbstractLayer, dt: float) -> AgeMesh:
    """Exact ages for neurons with marks, for such as are being traced, and where a graded mesh saves nothing."""
    if age_mesh is not None:
        validation.instance("age_mesh", age_mesh, AgeMesh)
    neuron = layer.neuron
    if neuron.expected.mark(jnp.zeros(())) is not None:
        return AgeMesh.uniform()
    if age_mesh is not None:
        return age_mesh
    if not validation.is_concrete(neuron):
        return AgeMesh.uniform()
    chosen = np.linspace(0, layer.num_neurons - 1, NEURONS).astype(np.int32)
    with jax.ensure_compile_time_eval():
        some = chosen_neurons(neuron, jnp.asarray(chosen))
        mesh = AgeMesh.graded(some, TOLERANCE)
    schedule = merge_schedule(mesh, neuron, dt)
    saves = schedule is not None and 2 * schedule.num_bins < num_ages(neuron, dt)
    return mesh if saves else AgeMesh.uniform()
