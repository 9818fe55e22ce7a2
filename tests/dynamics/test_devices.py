"""Results do not depend on the number of devices, to the last bit; on virtual devices of one processor."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

STUDY = Path(__file__).parents[1] / "processes" / "devices_study.py"


@pytest.mark.parametrize(
    ("parts", "comparisons"),
    [
        pytest.param(["neurons"], 7, id="neurons", marks=pytest.mark.slow),
        pytest.param(["fluctuations"], 1, id="fluctuations"),
        pytest.param(["slopes"], 1, id="slopes", marks=pytest.mark.slow),
        pytest.param(
            ["study", "trials", "gradient"], 4, id="studies", marks=pytest.mark.slow
        ),
    ],
)
def test_one_two_and_eight_devices_agree(parts, comparisons):
    flags = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", str(STUDY), *parts],
        env={**os.environ, "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    verdicts = [line.split()[-1] for line in done.stdout.splitlines()]
    assert verdicts == ["same"] * comparisons, done.stdout


def test_two_processes_agree_with_one():
    study = Path(__file__).parents[1] / "processes" / "distributed_study.py"
    with socket.socket() as free:
        free.bind(("localhost", 0))
        coordinator = f"localhost:{free.getsockname()[1]}"

    def start(num_processes, process_id):
        return subprocess.Popen(
            [
                sys.executable,
                str(study),
                coordinator,
                f"{num_processes}",
                f"{process_id}",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    digests = []
    for processes in ([start(2, 0), start(2, 1)], [start(1, 0)]):
        for process in processes:
            output, errors = process.communicate()
            assert process.returncode == 0, errors
            digests.append(output.split()[-1])  # after what the collectives say
    assert len(digests) == 3
    assert len(digests[0]) == 64
    assert len(set(digests)) == 1, digests
