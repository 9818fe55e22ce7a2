"""Run by test_devices.py in a process with eight virtual devices: prints whether results agree, bit for bit."""

import functools
import sys

import jax
import numpy as np

import ratelike as rl

GRID = rl.TimeGrid(0.5e-3, 40)


def mesh(num_devices):
    devices = jax.devices()[:num_devices]
    return jax.make_mesh((num_devices,), ("neurons",), devices=devices)


def run(make_network, dynamics, mesh):
    network = make_network(
        rl.SRM0(), num_neurons=1500, num_latents=3, depth=1, key=jax.random.key(0)
    )
    increments = rl.WienerDrive(3, key=jax.random.key(1)).increments(GRID)
    key = jax.random.key(2) if dynamics.needs_key else None
    record = {0: [3, 999]}
    trajectory = rl.simulate(
        network, increments, GRID, dynamics, key=key, record=record, mesh=mesh
    )
    return [np.asarray(x) for x in jax.tree.leaves(trajectory)]


def same(name, one, other):
    equal = all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    print(name, "same" if equal else "DIFFERENT", flush=True)


def neurons():
    for dynamics, make_network, others in (
        (rl.Spiking(), rl.streamed_relay_network, (mesh(2), mesh(8), None)),
        (rl.GeneralisedRate(), rl.relay_network, (mesh(8), None)),
        (rl.ConventionalRate(), rl.relay_network, (mesh(8), None)),
    ):
        one = run(make_network, dynamics, mesh(1))
        for other in others:
            name = f"{type(dynamics).__name__} {make_network.__name__} {other}"
            same(name, run(make_network, dynamics, other), one)


def fluctuations(differentiate=False):
    """Six blocks of neurons in each of two layers, the second of which hears the noise of the first."""
    grid = rl.TimeGrid(1e-3, 20)
    neuron = rl.SRM0(refractory=rl.ExponentialRefractory(memory=20e-3))
    network = rl.relay_network(
        neuron, num_neurons=1500, num_latents=3, depth=2, key=jax.random.key(0)
    )
    increments = rl.WienerDrive(3, key=jax.random.key(1)).increments(grid)

    def error(increments, mesh):
        key = jax.random.key(2)
        return rl.expected_error(
            network, increments, grid, num_probes=1, key=key, mesh=mesh
        )

    if not differentiate:
        same("error 8", *([error(increments, each)] for each in (None, mesh(8))))
        return
    close("gradient", *(jax.grad(error)(increments, each) for each in (None, mesh(8))))


def slopes():
    """Through layers that are not alike, the second of which takes what devices have added up."""
    first, second = (
        rl.relay_network(
            rl.SRM0(), num_neurons=size, num_latents=3, depth=1, key=jax.random.key(0)
        ).layers[0]
        for size in (640, 700)
    )
    network = rl.Network([first, second])
    increments = rl.WienerDrive(3, key=jax.random.key(1)).increments(GRID)

    def power(increments, mesh):
        dynamics = rl.ConventionalRate()
        run = rl.simulate(network, increments, GRID, dynamics, mesh=mesh)
        return (run.outputs**2).sum()

    close("slopes", *(jax.grad(power)(increments, each) for each in (None, mesh(8))))


def close(name, gradient, other):
    """In a derivative devices add up what they contribute in another order."""
    apart = np.abs(gradient - other).max() / np.abs(gradient).max()
    print(name, "same" if apart < 1e-5 else f"DIFFERENT: {apart}", flush=True)


def study():
    """A convergence study, whose cells hold several networks."""

    def make_network(num_neurons, key):
        return rl.relay_network(
            rl.SRM0(), num_neurons=num_neurons, num_latents=2, depth=1, key=key
        )

    def errors(mesh):
        found = rl.convergence(
            make_network,
            [128, 640],
            GRID,
            num_trials=1,
            key=jax.random.key(0),
            execution=rl.study.Execution(mesh=mesh),
        )
        return [*found.generalised.values, *found.conventional.values]

    same("study 8", errors(mesh(8)), errors(mesh(1)))


def trials():
    """A batch of trials that lies on several devices."""
    network = rl.relay_network(
        rl.SRM0(), num_neurons=100, num_latents=3, depth=1, key=jax.random.key(0)
    )
    increments = rl.WienerDrive(3, key=jax.random.key(1)).increments(GRID)

    @jax.jit
    @jax.vmap
    def trial(key):
        return rl.simulate(network, increments, GRID, rl.Spiking(), key=key).outputs

    keys = jax.random.split(jax.random.key(2), 8)
    alone = trial(keys)
    for count in (2, 8):
        axis = jax.make_mesh(
            (count,),
            ("trials",),
            axis_types=(jax.sharding.AxisType.Auto,),
            devices=jax.devices()[:count],
        )
        spec = jax.sharding.NamedSharding(axis, jax.sharding.PartitionSpec("trials"))
        same(f"trials {count}", [trial(jax.device_put(keys, spec))], [alone])


if __name__ == "__main__":
    assert jax.device_count() == 8
    for name in sys.argv[1:]:
        {
            "neurons": neurons,
            "fluctuations": fluctuations,
            "gradient": functools.partial(fluctuations, differentiate=True),
            "slopes": slopes,
            "study": study,
            "trials": trials,
        }[name]()
