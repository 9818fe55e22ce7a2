"""The age mesh of a layer, where the caller names none."""

import jax.numpy as jnp
import numpy as np

from ratelike import _validation as validation
from ratelike._density._age_mesh import POINTS, AgeMesh
from ratelike._fluctuations._cohorts import merge_schedule
from ratelike._neuron import AbstractNeuronModel
from ratelike._neuron._ages import num_ages

# Widths of the bins, in units of the age and of the memory.
OF_AGE, OF_MEMORY = 0.5, 0.2


def age_mesh_of(
    age_mesh: AgeMesh | None, neuron: AbstractNeuronModel, dt: float
) -> AgeMesh:
    """Exact ages for neurons with marks, and where a graded mesh would save nothing."""
    if age_mesh is not None:
        validation.instance("age_mesh", age_mesh, AgeMesh)
    if neuron.expected.mark(jnp.zeros(())) is not None:
        return AgeMesh.uniform()
    if age_mesh is not None:
        return age_mesh
    # Of static facts alone: the same whether parameters are known or being traced.
    age = np.linspace(0.0, neuron.memory, POINTS)
    widths = np.minimum(OF_AGE * age, OF_MEMORY * neuron.memory)
    widths = np.where(age <= neuron.shortest_dead_time, 0.0, widths)
    mesh = AgeMesh(tuple(float(width) for width in widths))
    schedule = merge_schedule(mesh, neuron, dt)
    saves = schedule is not None and 2 * schedule.num_bins < num_ages(neuron, dt)
    return mesh if saves else AgeMesh.uniform()
