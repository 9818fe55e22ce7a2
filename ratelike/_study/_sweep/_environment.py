"""Where something was computed: versions of the packages that matter, and the device."""

import importlib.metadata
import platform
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ratelike._io._version import __version__

if TYPE_CHECKING:  # jax.Device is a variable there
    from jaxlib._jax import Device
else:
    Device = jax.Device

PACKAGES = ("jax", "jaxlib", "diffrax", "equinox")
PRECISION = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_threefry_partitionable",
)


def environment(device: Device) -> dict[str, str]:
    """Versions and device by name."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "ratelike": __version__,
        **versions,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": f"{device.platform}: {device.device_kind}",
    }


def precision() -> dict[str, object]:
    """Settings of JAX that change results, of this thread."""
    return {name: setting(name) for name in PRECISION}


def setting(name: str) -> Any:
    """A setting of JAX as this thread sees it."""
    return getattr(jax.config, name)
