"""Compiles programs for an H100, which need not be there, and prints what each would launch and reserve, as JSON.

    CUDA_VISIBLE_DEVICES= python -m tests.processes.gpu_programs [name ...]

Needs the extra cuda13. A loop whose number of turns XLA does not know has those of the blocks of a density.
"""

import json
import os
import re
import sys

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.experimental import topologies

import ratelike as rl
from ratelike._network._packed import pack
from ratelike._numerics import _platform as platform
from ratelike._numerics._tile_random import num_tiles
from ratelike._population import _chunk_size
from ratelike._study._tiles import errors_of_tiles

STEPS, BLOCKS = 2000, 23
# What XLA asks of a device.
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024  threads_per_warp: 32  shared_memory_per_block: 49152  shared_memory_per_core: 233472
  threads_per_core_limit: 2048  core_count: 132  fpus_per_core: 128  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535  block_dim_limit_z: 65535  memory_bandwidth: 3352320000000  l2_cache_size: 52428800
  clock_rate_ghz: 1.98  device_memory_size: 84929347584  shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 }  registers_per_core_limit: 65536  registers_per_block_limit: 65536
}
platform_name: "CUDA"  dnn_version_info { major: 9 minor: 7 }  runtime_version { major: 13 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
# Without a device nothing can be tried out while compiling.
OPTIONS = {
    "xla_gpu_autotune_level": 0,
    "xla_gpu_enable_triton_gemm": False,
    "xla_gpu_enable_cublaslt": False,
}
NO_LAUNCH = {"get-tuple-element", "tuple", "parameter", "constant", "bitcast"}


def compiled(function, *arrays):
    """For the device described above; `arrays` may be known by their shapes alone."""
    topology = topologies.get_topology_desc(
        platform="cuda", target_config=H100, topology="1x1x1"
    )
    mesh = topologies.make_mesh(topology, (1,), ("devices",))
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

    def there(x):
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)

    traced = jax.jit(function).trace(*jax.tree.map(there, arrays))
    return traced.lower(lowering_platforms=("cuda",)).compile(compiler_options=OPTIONS)


def launches(text: str, turns_of_unknown: int) -> int:
    """Kernels in one run of a compiled program; of two branches those of the larger one."""
    bodies, entry, name = {}, "", None
    for line in text.splitlines():
        head = re.match(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$", line)
        if head:
            name = head[2]
            bodies[name] = []
            entry = name if head[1] else entry
        elif line.startswith("}"):
            name = None
        elif name is not None:
            bodies[name].append(line.strip())

    def of(name: str) -> int:
        return sum(of_line(line) for line in bodies.get(name, []))

    def of_line(line: str) -> int:
        called = re.search(r" (while|conditional|call)\(", line)
        if called is None:
            operation = re.search(r"=\s+(?:\([^=]*?\)|\S+)\s+([\w\-]+)\(", line)
            return int(operation is not None and operation[1] not in NO_LAUNCH)
        if called[1] == "while":
            known = re.search(r"known_trip_count\D*(\d+)", line)
            turns = int(known[1]) if known else turns_of_unknown
            body = re.search(r"body=%?([\w.\-]+)", line)
            assert body is not None
            return turns * of(body[1])
        fields = re.findall(
            r"(?:computations=\{|to_apply=|computation=)([^},]*(?:, %[\w.\-]+)*)", line
        )
        names = re.findall(r"[\w.\-]+", " ".join(fields))
        return max(map(of, names), default=1)

    return of(entry)


def b1(
    name: str, neurons: int, *, of_gradient: bool = False, is_streamed: bool = False
):
    """The program of the job B1, and shapes of its arguments."""
    grid = rl.TimeGrid(0.5e-3, STEPS)
    neuron = rl.SRM0()
    dynamics = {
        "spiking": rl.Spiking(),
        "exact": rl.GeneralisedRate(),
        "graded": rl.GeneralisedRate(rl.AgeShift(rl.AgeMesh.graded(neuron))),
        "conventional": rl.ConventionalRate(),
    }[name]
    make = rl.streamed_relay_network if is_streamed else rl.relay_network
    number = neurons if is_streamed else 64
    network = make(
        neuron, num_neurons=number, num_latents=10, depth=3, key=jax.random.key(0)
    )
    arrays, rest = eqx.partition(network, eqx.is_array)

    def grown(leaf):
        shape = (neurons if size == 64 else size for size in leaf.shape)
        return jax.ShapeDtypeStruct(tuple(shape), leaf.dtype)

    def run(arrays, increments, key_data):
        key = jax.random.wrap_key_data(key_data) if name == "spiking" else None
        network = eqx.combine(arrays, rest)
        return rl.simulate(network, increments, grid, dynamics, key=key).outputs

    def loss(*arguments):
        return jnp.mean(run(*arguments) ** 2)

    increments = jax.ShapeDtypeStruct((STEPS, 10), jnp.float32)
    arrays = arrays if is_streamed else jax.tree.map(grown, arrays)
    arguments = arrays, increments, jax.ShapeDtypeStruct((2,), jnp.uint32)
    return jax.grad(loss) if of_gradient else run, arguments


def with_variance(neurons: int, steps: int, inputs: int = 1):
    """The gradient of the expected loss of spikes, of one layer, its mean over inputs."""
    grid = rl.TimeGrid(1e-3, steps)
    network = rl.relay_network(
        rl.SRM0(), num_neurons=neurons, num_latents=4, depth=1, key=jax.random.key(0)
    )
    drives = [rl.WienerDrive(4, key=jax.random.key(1 + n)) for n in range(inputs)]
    increments = jnp.stack([drive.increments(grid) for drive in drives])

    def loss(network, increments):
        key, target = jax.random.key(3), jnp.zeros((steps, 4))
        return rl.expected_spiking_loss(
            network, increments, grid, target, num_probes=2, key=key
        )

    def mean(network):
        if inputs == 1:
            return loss(network, increments[0])
        return jnp.mean(jax.vmap(loss, (None, 0))(network, increments))

    return jax.grad(mean), (network,)


def convergence_cell(count: int, neurons: int, steps: int):
    """Three dynamics of several networks."""
    grid = rl.TimeGrid(0.5e-3, steps)

    def draw(key):
        return rl.relay_network(
            rl.SRM0(), num_neurons=neurons, num_latents=10, depth=3, key=key
        )

    keys = jax.random.split(jax.random.key(0), count)
    drive = rl.WienerDrive(10, key=jax.random.key(1)).increments(grid)
    drives = jnp.stack([drive] * count)
    networks = eqx.filter_vmap(draw)(keys)
    packed = pack(networks, list(drives), keys, neurons, num_tiles(count * neurons))
    dynamics = rl.study.ComparedDynamics().all_three

    def errors(increments):
        driven = eqx.tree_at(lambda p: p.increments, packed, increments)
        return errors_of_tiles.__wrapped__(driven, grid, dynamics, 0, None)

    return errors, (packed.increments,)


PROGRAMS = {
    f"{name} {neurons}": lambda name=name, neurons=neurons: b1(name, neurons)
    for neurons in (10_000, 100_000, 1_000_000)
    for name in ("spiking", "exact", "graded", "conventional")
}
PROGRAMS |= {
    f"gradient {name} 4096": lambda name=name: b1(name, 4096, of_gradient=True)
    for name in ("exact", "graded")
}
PROGRAMS |= {
    "streamed spiking 1000000": lambda: b1("spiking", 1_000_000, is_streamed=True),
    "gradient with variance 1024": lambda: with_variance(1024, 500),
    "gradient with variance 1024, 8 inputs": lambda: with_variance(1024, 500, 8),
    "convergence 4 x 1024": lambda: convergence_cell(4, 1024, 400),
}


def as_with_a_gpu() -> None:
    """What the library and Pallas ask of JAX, which sees no GPU here."""
    from jax._src import xla_bridge

    platform.has_gpu = lambda: True
    _chunk_size.jax = type("", (), {"default_backend": staticmethod(lambda: "gpu")})
    known = xla_bridge.canonicalize_platform
    xla_bridge.canonicalize_platform = lambda name: (
        "cuda" if name in ("gpu", "cuda") else known(name)
    )
    try:
        from jax._src.pallas.triton import gpu_info
    except ImportError:  # an older JAX takes what it can
        return
    h100 = gpu_info.get_gpu_info_from_version(gpu_info.GpuVersion.H100)
    gpu_info.get_gpu_info = lambda: h100


def main() -> None:
    as_with_a_gpu()
    for name in sys.argv[1:] or PROGRAMS:
        function, arguments = PROGRAMS[name]()
        program = compiled(function, *arguments)
        memory = program.memory_analysis().temp_size_in_bytes
        found = dict(program=name, launches=launches(program.as_text(), BLOCKS))
        print(json.dumps(found | dict(mebibytes=round(memory / 2**20))), flush=True)


if __name__ == "__main__":
    main()
