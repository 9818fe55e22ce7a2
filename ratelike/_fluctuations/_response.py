"""How the layers of a network answer the fluctuations of those before them."""

from collections.abc import Sequence

import diffrax
import equinox as eqx
import jax
from jaxtyping import Array

from ratelike._density._age_mesh import AgeMesh
from ratelike._fluctuations._network import OutputFluctuations, output_fluctuations
from ratelike._fluctuations._nonlinear import nonlinear_fluctuations
from ratelike._network import Network
from ratelike._signal._grid import TimeGrid


class LinearResponse(eqx.Module):
    r"""Each layer answers fluctuations of its input by the derivative of its rate there: linear noise.

    Right to leading order in 1/N. All probes share the density of the rate network.

        rl.expected_error(network, drive, grid, key=key, response=rl.LinearResponse())
    """

    def fluctuations(
        self,
        network: Network,
        path: diffrax.AbstractPath,
        grid: TimeGrid,
        key: Array | None,
        num_probes: int,
        age_meshes: Sequence[AgeMesh],
        mesh: jax.sharding.Mesh | None,
    ) -> OutputFluctuations:
        """What the output membranes of spiking neurons do around those of the rate."""
        return output_fluctuations(
            network, path, grid, key, num_probes, age_meshes, mesh
        )


class NonlinearResponse(eqx.Module):
    r"""Each layer answers the fluctuating input as it is: every probe is a run of its own through the network,

        dX_{l+1} = dR_{l+1}[X_l] + dxi_{l+1},

    with R the generalised rate of a layer, and xi the noise of its neurons given this very input X_l: of zero mean and of
    exact covariance in time. So the shift of the mean outputs, of order 1/N for more than one layer, is there, and all else
    at that order in means and variances, and higher orders as far as xi is Gaussian, which spikes are not.
    Probes come in pairs of opposite noise, whose linear parts cancel in the mean: an even `num_probes` is better.
    """

    def fluctuations(
        self,
        network: Network,
        path: diffrax.AbstractPath,
        grid: TimeGrid,
        key: Array | None,
        num_probes: int,
        age_meshes: Sequence[AgeMesh],
        mesh: jax.sharding.Mesh | None,
    ) -> OutputFluctuations:
        """What the output membranes of spiking neurons do around those of the rate."""
        return nonlinear_fluctuations(
            network, path, grid, key, num_probes, age_meshes, mesh
        )


Response = LinearResponse | NonlinearResponse
