"""A long run in pieces that another interpreter begins: `python -c "from tests.processes import stream_study; ..."`."""

import time
from pathlib import Path

import jax

import ratelike as rl

GRID = rl.TimeGrid(1e-3, 100)
KEY = jax.random.key(2)


def network():
    return rl.relay_network(
        rl.SRM0(), num_neurons=30, num_latents=2, depth=1, key=jax.random.key(0)
    )


def drive():
    return rl.WienerDrive(2, key=jax.random.key(1))


def streamed(write, every=30, key=KEY, **options):
    return rl.stream(
        network(),
        drive(),
        GRID,
        rl.Spiking(),
        key=key,
        every=every,
        write=write,
        **options,
    )


def stuck(folder, file):
    """The same, which waits for ever where the second `file` is about to get its name: between writing and renaming."""
    from ratelike._io import _atomic

    replace, written = _atomic.os.replace, []

    def wait(source, target):
        written.append(Path(target).name)
        if sum(name.startswith(file) for name in written) == 2:
            Path(folder, "stuck").touch()
            time.sleep(1e6)
        replace(source, target)

    _atomic.os.replace = wait
    streamed(folder)
