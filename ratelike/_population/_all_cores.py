"""The cores of a processor as devices of JAX, where the caller has asked for it."""

import jax

from ratelike._population._host_threads import host_threads, num_cores
from ratelike._population._sums import Workers
from ratelike._types import PyTree

# Set by the caller of `use_all_cores`, never on import.
_ASKED_FOR = False


def use_all_cores() -> None:
    """Makes one JAX device of each core, and `mesh=None` mean all of them; once, at the top of a script.

        rl.use_all_cores()  # before anything else of JAX

    At top level `simulate`, predictions of finite size, studies, and fits of several inputs in a step use all cores
    anyway. This is for what runs within `jit`, `vmap` or `grad`: `fit` with one input, and functions of your own. No bit
    of a result changes. What comes out of a compiled function of your own is then on all these devices, and mixes with
    all arrays but those that were put on one device by `jax.device_put`. It sets JAX's option `jax_num_cpu_devices`; on
    a machine with an accelerator nothing else changes.

    Raises `RuntimeError` where JAX has started already.
    """
    global _ASKED_FOR
    jax.config.update("jax_num_cpu_devices", num_cores())
    _ASKED_FOR = True


def workers_for(mesh: jax.sharding.Mesh | None, arguments: PyTree) -> Workers:
    """What chunks are shared out among: the devices that were asked for, else threads at top level."""
    if mesh is not None:
        return mesh
    return host_threads(arguments) or default_mesh()


def default_mesh() -> jax.sharding.Mesh | None:
    """What `mesh=None` means within a transformation: None, unless the caller has asked for all cores of a processor."""
    if not _ASKED_FOR or jax.default_backend() != "cpu":
        return None
    return jax.make_mesh(
        (jax.local_device_count(),), ("neurons",), devices=jax.local_devices()
    )
