"""A layer's chunks in 1, 2, 3 and 8 threads, in one program, in `jit`, and on all cores as devices: prints what differs.

Run with two virtual devices by `use_all_cores`.
"""

import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np

import ratelike as rl
from ratelike import _simulate

os.sched_getaffinity = lambda _: range(3)
rl.use_all_cores()
assert jax.device_count() == 3
GRID = rl.TimeGrid(1e-3, 30)
NETWORK = rl.relay_network(
    rl.SRM0(), num_neurons=9 * 64 + 5, num_latents=3, depth=2, key=jax.random.key(0)
)
INPUT = rl.WienerDrive(3, key=jax.random.key(1)).increments(GRID)
DYNAMICS = (rl.Spiking(), rl.GeneralisedRate())


def run(dynamics, network=NETWORK, mesh=None):
    key = jax.random.key(2) if dynamics.needs_key else None
    return rl.simulate(
        network, INPUT, GRID, dynamics, key=key, record={1: [70]}, mesh=mesh
    )


def digest(trajectory) -> str:
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(trajectory)]
    return hashlib.sha256(b"".join(leaf.tobytes() for leaf in leaves)).hexdigest()


def main() -> None:
    here = jax.devices()[0]
    for dynamics in DYNAMICS:
        name = type(dynamics).__name__
        within_jit = jax.jit(lambda network, each=dynamics: run(each, network))(NETWORK)
        print(name, len(within_jit.outputs.devices()), "devices within jit")
        mesh = jax.make_mesh((1,), ("neurons",), devices=[here])
        expected = digest(run(dynamics, mesh=mesh))
        found = {"jit": digest(within_jit), "short": digest(run(dynamics))}
        # So that it is not short.
        _simulate.FEW_BLOCKS, few_blocks = 0.0, _simulate.FEW_BLOCKS
        for count in (1, 2, 3, 8):
            os.sched_getaffinity = lambda _, count=count: range(count)
            trajectory = run(dynamics)
            assert trajectory.outputs.devices() == {here}
            found[f"{count} threads"] = digest(trajectory)
        with ThreadPoolExecutor(2) as pool:
            own = [pool.submit(run, dynamics) for _ in range(2)]
            found["threads of the caller"] = digest(own[0].result())
        _simulate.FEW_BLOCKS = few_blocks
        wrong = [way for way, value in found.items() if value != expected]
        print(name, "differs:", *wrong)
    # A gradient and a batch on all devices, beside an array that is on one of them.
    slope = jax.grad(lambda n: run(rl.GeneralisedRate(), n).outputs.var())(NETWORK)
    keys = jax.random.split(jax.random.key(3), 2)
    batch = jax.vmap(
        lambda k: rl.simulate(NETWORK, INPUT, GRID, rl.Spiking(), key=k).outputs
    )(keys)
    total = jnp.sum(batch) + jnp.sum(slope.layers[0].bias) + jnp.zeros(())
    print("finite", bool(jnp.isfinite(total)))


if __name__ == "__main__":
    sys.exit(main())
