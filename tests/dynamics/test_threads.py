"""At top level on a processor the chunks of a layer run in threads of the host."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl
from ratelike._population import _host_threads, _sums
from ratelike._population._host_threads import HostThreads, host_threads
from ratelike._population._sums import map_over_chunks

STUDY = Path(__file__).parents[1] / "processes" / "threads_study.py"


def test_threads_devices_and_jit_agree_to_the_last_bit():
    done = subprocess.run(
        [sys.executable, "-W", "error", str(STUDY)],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines.pop() == "finite True"
    for name in ("Spiking", "GeneralisedRate"):
        assert f"{name} 3 devices within jit" in lines
        assert f"{name} differs:" in lines


def test_short_runs_start_no_threads(monkeypatch):
    asked = []
    inner = _sums.map_in_threads

    def watched(run_chunk, count, *others, **options):
        asked.append(count)
        return inner(run_chunk, count, *others, **options)

    monkeypatch.setattr(_sums, "map_in_threads", watched)
    monkeypatch.setattr(_host_threads, "num_cores", lambda: 2)
    neuron = rl.SRM0(refractory=rl.ExponentialRefractory(memory=5e-3))
    network = rl.relay_network(
        neuron, num_neurons=600, num_latents=2, depth=1, key=jax.random.key(0)
    )
    for num_steps, is_short in ((20, True), (2100, False)):
        grid = rl.TimeGrid(1e-3, num_steps)
        silence = np.zeros((num_steps, 2))
        rl.simulate(network, silence, grid, rl.Spiking(), key=jax.random.key(1))
        assert (not asked) == is_short


def _square_or_fail(index, failing):
    def on_host(number, of_failure):
        if int(number) == int(of_failure):
            raise ArithmeticError(f"chunk {int(number)}")
        return np.asarray(int(number) ** 2, np.int32)

    shape = jax.ShapeDtypeStruct((), jnp.int32)
    return jax.pure_callback(on_host, shape, index, failing)


def test_an_error_in_a_thread_arrives_and_order_is_kept():
    for number in (1, 3):
        threads = HostThreads(number)
        squares = map_over_chunks(
            _square_or_fail, 7, threads, jnp.asarray(-1, jnp.int32)
        )
        np.testing.assert_array_equal(squares, np.arange(7) ** 2)
        with pytest.raises(
            jax.errors.JaxRuntimeError, match="ArithmeticError: chunk 5"
        ):
            map_over_chunks(_square_or_fail, 7, threads, jnp.asarray(5, jnp.int32))


def test_threads_only_at_top_level_and_on_one_processor():
    x = jnp.ones(3)
    if jax.default_backend() != "cpu":
        assert host_threads(x) is None
        return
    found = []

    def look(values, constant=None):
        found.append(host_threads((values, constant)))
        return values

    look(x)
    assert found.pop() is not None
    jax.jit(look)(x)
    jax.jit(lambda y: (look(x), y))(x)  # a constant within `jit`
    jax.vmap(look)(x)
    jax.jvp(look, (x,), (x,))
    with jax.disable_jit():
        look(x)
    assert found == [None] * 5
