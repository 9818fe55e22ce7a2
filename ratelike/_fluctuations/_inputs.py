"""Checks of the arguments of everything that predicts fluctuations."""

from typing import NamedTuple

import diffrax
import jax
from jaxtyping import Array

from ratelike import _validation as validation
from ratelike._density._age_mesh import AgeMesh
from ratelike._dynamics._generalised import GeneralisedRate
from ratelike._fluctuations._default_mesh import age_mesh_of
from ratelike._fluctuations._network import OutputFluctuations
from ratelike._fluctuations._response import (
    LinearResponse,
    NonlinearResponse,
    Response,
)
from ratelike._inputs import checked_inputs
from ratelike._network import AbstractLayer, Network, check_population
from ratelike._neuron import check_renewal
from ratelike._population._all_cores import default_mesh, workers_for
from ratelike._population._sums import Workers
from ratelike._signal._drive import Input
from ratelike._signal._grid import TimeGrid


class FluctuationInputs(NamedTuple):
    """What a prediction needs besides network, grid and devices, after all checks."""

    path: diffrax.AbstractPath
    burn_in: int  # steps
    num_probes: int
    key: Array | None  # of the probes
    age_meshes: tuple[AgeMesh, ...]  # of each layer
    response: Response

    def workers(
        self, network: Network, grid: TimeGrid, mesh: jax.sharding.Mesh | None
    ) -> Workers:
        """Threads at top level, but not for runs side by side, which are one program."""
        if isinstance(self.response, NonlinearResponse):
            return mesh or default_mesh()
        return workers_for(mesh, (network, self, grid))

    def fluctuations(
        self, network: Network, grid: TimeGrid, workers: Workers
    ) -> OutputFluctuations:
        return self.response.fluctuations(
            network,
            self.path,
            grid,
            self.key,
            self.num_probes,
            self.age_meshes,
            workers,
        )


def checked_fluctuation_inputs(
    network: Network,
    increments: Input,
    grid: TimeGrid,
    *,
    burn_in: int,
    num_probes: int,
    key: Array | None,
    age_mesh: AgeMesh | None,
    mesh: jax.sharding.Mesh | None,
    response: Response | None,
) -> FluctuationInputs:
    """Raises `ValueError` for arguments that are wrong by themselves or do not fit each other: see `expected_error`."""
    path = checked_inputs(network, increments, grid, GeneralisedRate()).path
    for index, layer in enumerate(network.layers):
        check_layer_fluctuations(f"network.layers[{index}]", layer)
    burn_in = validation.burn_in(burn_in, grid.num_steps)
    num_probes = validation.count("num_probes", num_probes)
    if mesh is not None:
        validation.instance("mesh", mesh, jax.sharding.Mesh)
    response = LinearResponse() if response is None else response
    if not isinstance(response, Response):
        raise ValueError(
            "response must be an instance of LinearResponse or NonlinearResponse, "
            f"got {validation.shown(response)}"
        )
    loops = [layer.feedback is not None for layer in network.layers]
    if isinstance(response, NonlinearResponse) and any(loops):
        raise ValueError(
            "response must be LinearResponse() where a layer has feedback, because probes run through the loop linearly, "
            f"got {validation.shown(response)}"
        )
    # A last layer without feedback draws nothing.
    draws = network.depth > 1 or loops[-1]
    if draws or key is not None:
        key = validation.typed_key("key", key)
    meshes = [age_mesh_of(age_mesh, layer.neuron, grid.dt) for layer in network.layers]
    return FluctuationInputs(path, burn_in, num_probes, key, tuple(meshes), response)


def check_layer_fluctuations(name: str, layer: AbstractLayer) -> None:
    """The theory holds for the layer: its neurons spike, and are renewal neurons."""
    what = "the variance of its spikes"
    check_population(name, layer, what)
    check_renewal(f"{name}.neuron", layer.neuron, what)
