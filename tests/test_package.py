"""What importing the package does, and does not do."""

import subprocess
import sys

import ratelike as rl

CHECK = """
import sys, jax
before = dict(jax.config.values)
import ratelike
assert dict(jax.config.values) == before, "importing changed JAX's configuration"
slow = {"matplotlib", "scipy.stats", "optax", "xarray", "tqdm"} & set(sys.modules)
assert not slow, slow
from jax._src import xla_bridge
assert not xla_bridge._backends, "importing started a JAX backend"
"""


def test_import_is_light_and_leaves_jax_alone():
    subprocess.run([sys.executable, "-W", "error", "-c", CHECK], check=True)


def test_public_names():
    fixed = """ExponentialEscape ExponentialRefractory NoRefractory SRM0 Layer Network relay_network TimeGrid WienerDrive
    simulate Spiking GeneralisedRate ConventionalRate mean_absolute_error convergence Convergence AgeShift"""
    assert all(hasattr(rl, name) for name in fixed.split())
