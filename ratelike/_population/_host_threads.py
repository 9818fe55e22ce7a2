"""Chunks of a population in threads of the host, which use the cores of a processor where nothing was configured."""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, cast

import equinox as eqx
import jax
import jax.numpy as jnp

from ratelike import _validation as validation
from ratelike._types import PyTree


class HostThreads(NamedTuple):
    """So many threads, each of which runs compiled programs; arrays stay on the device on which they are."""

    number: int


def num_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def host_threads(arguments: PyTree) -> HostThreads | None:
    """Threads for a computation with these arguments: at top level, with all arrays on one processor; else None.

    Within a caller's transformation there is nothing that a thread could run.
    """
    arrays = [leaf for leaf in jax.tree.leaves(arguments) if eqx.is_array(leaf)]
    made_here = jnp.zeros(())  # is traced within `jit` even where no argument is
    by_operation = jax.config.jax_disable_jit  # pyright: ignore[reportAttributeAccessIssue]
    if by_operation or not validation.is_concrete((arrays, made_here)):
        return None
    on_device = [each for each in (*arrays, made_here) if isinstance(each, jax.Array)]
    devices = set().union(*(each.devices() for each in on_device))
    if len(devices) > 1 or next(iter(devices)).platform != "cpu":
        return None
    return HostThreads(num_cores())


# Operations on chunks that fit into a core's cache are too small to share among cores; and XLA leaves half of the width
# of AVX-512 unused unless it is told to: where there is none this changes nothing.
@eqx.filter_jit(  # pyright: ignore[reportCallIssue]
    compiler_options={
        "xla_cpu_multi_thread_eigen": False,
        "xla_cpu_prefer_vector_width": 512,
    }
)
def call_compiled(function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(*arguments)` as one program for one core. The function is a pytree: it compiles once if its parts are equal."""
    return function(*arguments)


def map_in_threads(
    run_chunk: Callable[..., PyTree],
    count: int,
    threads: HostThreads,
    *arrays: PyTree,
    keep: Callable[[int, PyTree], PyTree] | None = None,
) -> list[PyTree]:
    """run_chunk(0, *arrays), ..., run_chunk(count - 1, *arrays): one program, compiled in the thread of the caller.

    For what JAX has been told for a thread, such as by `jax.enable_x64(True)`, is not known in other threads. `keep(0,
    ...)`, `keep(1, ...)` take each result as soon as it is there, in any order, and return what is to be kept of it.
    """
    numbers = [jnp.asarray(number, jnp.int32) for number in range(count)]
    program = cast(Any, call_compiled).lower(run_chunk, numbers[0], *arrays).compile()
    outputs: list[PyTree] = [None] * count
    remaining = deque(range(count))

    def take(number: int | None) -> None:
        if number is None:
            return
        jax.block_until_ready(outputs[number])
        if keep is not None:
            outputs[number] = keep(number, outputs[number])

    def work() -> None:
        running = None
        while remaining:
            try:
                number = remaining.popleft()
            except IndexError:  # another thread took the last one
                break
            outputs[number] = program(run_chunk, numbers[number], *arrays)
            # The next one waits behind this one: XLA's own threads are never idle, and a program stays on its core. More
            # than these two of each thread are not in memory.
            take(running)
            running = number
        take(running)

    # The caller's thread is one of them: to start one takes half a millisecond.
    others = min(threads.number, count) - 1
    with ThreadPoolExecutor(max(others, 1)) as pool:
        futures = [pool.submit(work) for _ in range(others)]
        try:
            work()
            for future in futures:
                future.result()
        finally:
            remaining.clear()
    return outputs
