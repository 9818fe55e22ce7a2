"""The job B1, side by side: ratelike, Brian2 and NEST on the same network and input, in one call.

    python benchmarks/peers/run.py --ratelike-python PYTHON --peers-python PYTHON

B1: three layers of N SRM0 neurons with the library's defaults, 10 latents, 2000 steps of 0.5 ms, one trial, outputs only.
Every program runs in a process of its own, in turn, `--rounds` times, and several times in each process; printed is the
fastest run, in million neuron-steps per second (3 N 2000 / run time), with the time to build or compile apart. The error is
that of the outputs against the generalised rate network: programs that run the same network have about the same.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
STEPS = 3 * 2000
DISTRIBUTIONS = ["ratelike", "jax", "brian2", "nest-simulator", "numpy"]


class Peer(NamedTuple):
    script: str
    arguments: list[str]
    dense: bool = False


def peers(threads: int) -> dict[str, Peer]:
    brian2, many = "b1_brian2.py", ["--threads", str(threads)]
    return {
        "Brian2 relay": Peer(brian2, ["--variant", "relay"]),
        "Brian2 relay, single": Peer(brian2, ["--variant", "relay", "--single"]),
        f"Brian2 relay, {threads} threads": Peer(brian2, ["--variant", "relay", *many]),
        "Brian2 race": Peer(brian2, ["--variant", "race"]),
        "Brian2 race, single": Peer(brian2, ["--variant", "race", "--single"]),
        f"Brian2 race, {threads} threads": Peer(brian2, ["--variant", "race", *many]),
        "Brian2 dense": Peer(brian2, ["--variant", "dense"], dense=True),
        "NEST dense": Peer("b1_nest.py", [], dense=True),
        f"NEST dense, {threads} threads": Peer("b1_nest.py", many, dense=True),
    }


def measure(python: str, script: str, arguments: list[str]) -> dict | None:
    """The JSON that a script prints last, or None where it failed."""
    search = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [python, str(HERE / script), *arguments],
        capture_output=True,
        text=True,
        env=os.environ | dict(PYTHONPATH=search.rstrip(os.pathsep)),
    )
    for line in reversed(done.stdout.splitlines()):
        if line.startswith('{"build_time"'):
            return json.loads(line)
    print(f"{script} {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return None


def together(before: dict | None, after: dict | None) -> dict | None:
    if before is None or after is None:
        return before or after
    return dict(
        build_time=min(before["build_time"], after["build_time"]),
        run_times=before["run_times"] + after["run_times"],
        error=before["error"],
    )


def compare(size: int, chosen: dict[str, Peer], options) -> dict[str, dict]:
    """All programs on one network, in turn."""
    results: dict[str, dict | None] = {}
    repeats = ["--repeats", str(options.repeats)]
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "network.npz")
        for _ in range(options.rounds):
            ours = ["--neurons", str(size), "--export", file, *repeats]
            run = measure(options.ratelike_python, "b1_ratelike.py", ours)
            if run is None:
                sys.exit("ratelike did not run")
            results["ratelike"] = together(results.get("ratelike"), run)
            for name, peer in chosen.items():
                if peer.dense and size > options.largest_dense:
                    continue
                arguments = [file, *peer.arguments, *repeats]
                run = measure(options.peers_python, peer.script, arguments)
                results[name] = together(results.get(name), run)
    return {name: result for name, result in results.items() if result is not None}


def table(size: int, results: dict[str, dict]) -> str:
    lines = []
    fastest = {name: min(result["run_times"]) for name, result in results.items()}
    for name, result in results.items():
        speed = STEPS * size / fastest[name] / 1e6
        spread = max(result["run_times"]) / fastest[name]
        ratio = fastest[name] / fastest["ratelike"]
        lines.append(
            f"| {size} | {name} | {speed:.1f} | {ratio:.2f} | {spread:.2f} "
            f"| {result['build_time']:.1f} | {result['error']:.3f} |"
        )
    return "\n".join(lines)


def versions(python: str) -> str:
    code = (
        "import importlib.metadata as m, sys\n"
        f"for n in {DISTRIBUTIONS}:\n"
        "    try: print(n, m.version(n), end=', ')\n"
        "    except m.PackageNotFoundError: pass\n"
        "print('Python', sys.version.split()[0])"
    )
    return subprocess.run(
        [python, "-c", code], capture_output=True, text=True
    ).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ratelike-python", default=sys.executable)
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5, help="in each process")
    parser.add_argument("--largest-dense", type=int, default=2000, metavar="N")
    parser.add_argument("--only", nargs="+", metavar="PEER", help="'Brian2 relay', ...")
    options = parser.parse_args()
    chosen = peers(options.threads)
    if options.only is not None:
        unknown = set(options.only) - set(chosen)
        if unknown:
            parser.error(f"--only takes {list(chosen)}, got {sorted(unknown)}")
        chosen = {name: chosen[name] for name in options.only}
    print(f"{date.today()}, {os.cpu_count()} x {platform.machine()}", flush=True)
    for python in (options.ratelike_python, options.peers_python):
        print(versions(python))
    print(f"load average at the beginning: {os.getloadavg()[0]:.1f}\n")
    print(
        "| N | program | million neuron-steps/s | ratelike is faster by | slowest/fastest run | build (s) | error |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    for size in options.sizes:
        print(table(size, compare(size, chosen, options)), flush=True)
    print(f"\nload average at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
