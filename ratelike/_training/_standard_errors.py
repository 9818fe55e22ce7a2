"""Standard errors of fitted parameters, from the curvature of the log-likelihood."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from ratelike import _validation as validation
from ratelike._network import Network
from ratelike._training._choice import Where, choose
from ratelike._training._descent import Loss
from ratelike._training._domains import FixedSum, Part
from ratelike._training._trained import Trained

# Of curvatures, each parameter in units of its own curvature: below it nothing but rounding is left in single precision.
FLAT = 1e-4
# In standard errors: from a minimum that is farther away, the curvature is another one.
FAR = 0.5


class StandardErrors(NamedTuple):
    """What `standard_errors` returns."""

    network: Network  # standard errors in the place of the parameters, NaN for what was not fitted
    # Of all fitted numbers, in the order of the leaves of the network.
    covariance: Float[np.ndarray, "parameters parameters"]


def standard_errors(
    network: Network, loss: Loss, *, where: Where, key: Array
) -> StandardErrors:
    r"""Standard errors of the parameters that `where` chooses, at a minimum of `loss(network, key)`, a negative log-likelihood:

        covariance = H^-1,    H = second derivatives of the loss by all fitted numbers,    standard error = sqrt of its diagonal,

    the inverse of the observed Fisher information. `loss` and `where` are those of `fit`; the loss has to be minus the
    *sum* of log-likelihoods in nats, not a mean, and nothing may be added to it.

        errors = rl.train.standard_errors(network, loss, where=where, key=key).network
        errors.layers[0].neuron.escape.threshold

    Right for many spikes, away from the edge of a domain, and where the model is right. One derivative of the gradient for
    each fitted number, one after the other.

    Raises `ValueError` as `fit` does for its arguments, and for a sum that is fixed; `RuntimeError` more than half a standard
    error away from a minimum, and where the curvature is not positive: parameters whose effects cannot be told apart, such as
    `rate` and `threshold` of an exponential escape rate, which it names.
    """
    validation.instance("network", network, Network)
    validation.finite_leaves("network", network)
    validation.function("loss", loss, "a network and a key")
    key = validation.typed_key("key", key)
    trained = choose(network, where)
    chosen = _chosen(trained)
    value = jax.eval_shape(lambda k: loss(network, k), key)
    validation.shape("the value of loss", value, ())
    gradient, hessian = map(np.asarray, _derivatives(network, loss, chosen, key))
    hessian = 0.5 * (hessian + hessian.T).astype(float)
    covariance = _inverse(hessian, _names(network, chosen))
    _check_distance(gradient.astype(float), covariance)
    errors = jnp.asarray(np.sqrt(np.diag(covariance)))
    return StandardErrors(_put(network, chosen, errors), covariance)


# By leaf of the network; within jit they are traced.
Chosen = dict[int, Integer[np.ndarray, " entries"] | Integer[Array, " entries"]]


def _chosen(trained: Trained) -> Chosen:
    """Which entries of which leaves are fitted, as numbers of the flattened leaf."""
    leaves, chosen = jax.tree.leaves(trained.network), {}
    for index, domain in zip(trained.indices, trained.domains, strict=True):
        own = domain.domain if isinstance(domain, Part) else domain
        if isinstance(own, FixedSum):
            raise ValueError(
                "where must not fix a sum for standard errors, which are those of independent parameters, got FixedSum"
            )
        start = jnp.asarray(leaves[index])
        entries = np.arange(start.size)
        if isinstance(domain, Part):
            entries = np.flatnonzero(domain.chosen(start))
        chosen[index] = np.union1d(chosen.get(index, entries), entries)
    return chosen


def _with(
    network: Network, chosen: Chosen, numbers: Float[Array, " parameters"]
) -> Network:
    """The network with other numbers in the places that are chosen."""
    leaves, structure = jax.tree.flatten(network)
    begin = 0
    for index, entries in chosen.items():
        end = begin + len(entries)
        leaf = jnp.asarray(leaves[index])
        own = numbers[begin:end].astype(leaf.dtype)
        leaves[index] = leaf.ravel().at[entries].set(own).reshape(leaf.shape)
        begin = end
    return jax.tree.unflatten(structure, leaves)


@eqx.filter_jit
def _derivatives(
    network: Network, loss: Loss, chosen: Chosen, key: Array
) -> tuple[Float[Array, " parameters"], Float[Array, "parameters parameters"]]:
    """The first ones and the second ones."""
    leaves = jax.tree.leaves(network)
    dtype = jnp.result_type(*(leaves[index] for index in chosen))
    parts = [jnp.ravel(leaves[index])[entries] for index, entries in chosen.items()]
    start = jnp.concatenate([part.astype(dtype) for part in parts])

    def of_numbers(numbers: Float[Array, " parameters"]) -> Float[Array, ""]:
        return loss(_with(network, chosen, numbers), key)

    gradient = jax.grad(of_numbers)

    # Not by `jax.linearize`, which would keep what checkpoints in the loss are there to forget.
    def row(direction: Float[Array, " parameters"]) -> Float[Array, " parameters"]:
        return jax.jvp(gradient, (start,), (direction,))[1]

    rows = jax.lax.map(row, jnp.eye(len(start), dtype=start.dtype))
    return gradient(start), rows


def _names(network: Network, chosen: Chosen) -> list[str]:
    """Of each number."""
    leaves, names = jax.tree_util.tree_leaves_with_path(network), []
    for index, entries in chosen.items():
        path, leaf = leaves[index]
        places = np.argwhere(np.ones(np.shape(leaf)))[entries].tolist()
        name = "network" + jax.tree_util.keystr(path)
        names += [name + (str(place) if place else "") for place in places]
    return names


def _inverse(
    hessian: Float[np.ndarray, "parameters parameters"], names: list[str]
) -> Float[np.ndarray, "parameters parameters"]:
    curvature = np.diag(hessian)
    if not np.all(np.isfinite(hessian)) or np.any(curvature <= 0.0):
        wrong = ~np.isfinite(hessian).all(axis=0) | (curvature <= 0.0)
        raise RuntimeError(
            f"the curvature of the loss is not positive in {names[int(np.argmax(wrong))]}: the network is no minimum"
        )
    # Parameters may differ in size by powers of ten: each in units of its own curvature.
    scale = 1.0 / np.sqrt(curvature)
    values, vectors = np.linalg.eigh(scale[:, None] * hessian * scale)
    if values[0] < FLAT:
        shares = np.argsort(-np.abs(vectors[:, 0]))
        main = [names[i] for i in shares if abs(vectors[i, 0]) > 0.2]
        raise RuntimeError(
            f"the curvature of the loss is not positive when these change together: {', '.join(main)}; they cannot be told "
            "apart, or the network is no minimum"
        )
    inverse = (vectors / values) @ vectors.T
    return scale[:, None] * inverse * scale


def _check_distance(
    gradient: Float[np.ndarray, " parameters"],
    covariance: Float[np.ndarray, "parameters parameters"],
) -> None:
    """Of the minimum, by the first derivatives that are left."""
    distance = float(np.sqrt(gradient @ covariance @ gradient))
    if not distance < FAR:
        raise RuntimeError(
            f"the network must be that of a minimum of the loss, got one that is about {distance:.2g} standard errors away "
            "from it; go on with the fit"
        )


def _put(
    network: Network, chosen: Chosen, errors: Float[Array, " parameters"]
) -> Network:
    def unknown(leaf: Any) -> Any:
        is_float = eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating)
        return jnp.full_like(leaf, jnp.nan) if is_float else leaf

    return _with(jax.tree.map(unknown, network), chosen, errors)
