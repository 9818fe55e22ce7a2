"""How the layers of a network answer the fluctuations of those before them."""

import equinox as eqx

from ratelike._fluctuations._network import output_fluctuations
from ratelike._fluctuations._nonlinear import nonlinear_fluctuations


class LinearResponse(eqx.Module):
    r"""Each layer answers the fluctuations of its input by the derivative of its rate: linear noise, of mean zero.

        d(dX_{l+1}) = J_{l+1} dX_l + dxi_{l+1}

    with dX_l the fluctuation of the path that layer l hands on, and xi_{l+1} the noise of the neurons of layer l + 1 given
    the path of the rate network. Right to leading order in 1/N: variances of order 1/N, and no shift of the mean. For
    `expected_error` and `expected_spiking_loss`, whose default it is. All probes share the densities of the rate network.

        rl.expected_error(network, drive, grid, key=key, response=rl.LinearResponse())

    van Kampen, *Stochastic Processes in Physics and Chemistry*, ch. X.
    """

    fluctuations = staticmethod(output_fluctuations)


class NonlinearResponse(eqx.Module):
    r"""Each layer answers the fluctuating input as it is: every probe is a run of its own through the layers,

        X_{l+1} = R_{l+1}[X_l] + xi_{l+1}[X_l]

    with X_l the path that layer l hands on, R the generalised rate of a layer, and xi the noise of its neurons given this
    very input, of mean zero and of exact covariance. So the mean of the outputs is shifted, by order 1/N for more than one
    layer, and their variances have the terms of order 1/N^2; third and higher moments of the noise itself, which spikes have, are
    not in it. For `expected_error` and `expected_spiking_loss`; for a network of one layer it is `LinearResponse`.
    Probes come in pairs of opposite noise, so that what is linear in it cancels in the mean: take an even `num_probes`.
    With as many probes a prediction scatters by about a quarter more than that of linear noise, and costs as much or less.

        rl.expected_error(network, drive, grid, key=key, response=rl.NonlinearResponse())

    The noise given the past: Schwalger, Deger and Gerstner, PLoS Comput. Biol. 13, e1005507 (2017).
    """

    fluctuations = staticmethod(nonlinear_fluctuations)


Response = LinearResponse | NonlinearResponse
