"""Run by test_devices.py in several processes: python distributed_study.py COORDINATOR NUM_PROCESSES PROCESS_ID."""

import hashlib
import sys

import jax
import numpy as np

import ratelike as rl


def digest(mesh) -> str:
    grid = rl.TimeGrid(0.5e-3, 40)
    network = rl.streamed_relay_network(
        rl.SRM0(), num_neurons=1500, num_latents=3, depth=1, key=jax.random.key(0)
    )
    increments = rl.WienerDrive(3, key=jax.random.key(1)).increments(grid)
    trajectory = rl.simulate(
        network, increments, grid, rl.Spiking(), key=jax.random.key(2), mesh=mesh
    )
    return hashlib.sha256(np.asarray(trajectory.outputs).tobytes()).hexdigest()


if __name__ == "__main__":
    coordinator, num_processes, process_id = sys.argv[1:]
    if int(num_processes) > 1:
        jax.distributed.initialize(coordinator, int(num_processes), int(process_id))
    assert jax.process_count() == int(num_processes)
    print(digest(jax.make_mesh((jax.device_count(),), ("neurons",))))
