"""Errors of several networks of one size, by one compiled program for all sizes."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float

from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._finite import all_finite
from ratelike._dynamics._run_layers import run_layers
from ratelike._network._packed import PackedNetworks
from ratelike._signal._drive import GridPath
from ratelike._signal._error import mean_absolute_error
from ratelike._signal._grid import TimeGrid
from ratelike._signal._membrane import membrane_traces


# Operations on chunks that fit into a core's cache are too small to share among cores; whole cells run beside each other.
# And XLA leaves half of the width of AVX-512 unused unless it is told to; where there is none this changes nothing.
@eqx.filter_jit(  # pyright: ignore[reportCallIssue]
    compiler_options={
        "xla_cpu_multi_thread_eigen": False,
        "xla_cpu_prefer_vector_width": 512,
    }
)
def errors_of_tiles(
    networks: PackedNetworks,
    grid: TimeGrid,
    dynamics: Sequence[AbstractDynamics],
    burn_in: int,
    mesh: Mesh | None,
) -> tuple[
    list[Float[Array, " tiles"]], Float[Array, " tiles"], Bool[Array, " dynamics"]
]:
    """For every tile the errors and the rate of its network, and whether each dynamics made sense of all of them."""
    spiking, *rate_networks = [
        _outputs(networks, grid, each, mesh) for each in dynamics
    ]
    errors = [
        mean_absolute_error(spiking[0], outputs, burn_in=burn_in)
        for outputs, _, _ in rate_networks
    ]
    succeeded = jnp.stack([each[2] for each in (spiking, *rate_networks)])
    return errors, spiking[1], succeeded


def _outputs(
    networks: PackedNetworks,
    grid: TimeGrid,
    dynamics: AbstractDynamics,
    mesh: Mesh | None,
) -> tuple[Float[Array, "tiles time latents"], Float[Array, " tiles"], Bool[Array, ""]]:
    """Output membranes and mean rate of each tile's network, and whether all are finite."""
    runs = run_layers(
        dynamics,
        networks.stages,
        GridPath(networks.increments, grid),
        grid,
        key=networks.spike_keys,
        recorded={},
        workers=mesh,
    )
    rates = [jnp.mean(run.mean.spikes, axis=0) / grid.dt for run in runs]
    increments = jnp.swapaxes(runs[-1].mean.latents, 0, 1)
    tau_axis = 0 if networks.output_tau_m.ndim == 1 else None
    outputs = jax.vmap(membrane_traces, in_axes=(0, tau_axis, None))(
        increments, networks.output_tau_m, grid.dt
    )
    succeeded = jnp.all(jnp.stack([run.succeeded for run in runs]))
    return outputs, jnp.mean(jnp.stack(rates), axis=0), succeeded & all_finite(outputs)
