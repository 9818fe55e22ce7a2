"""Long runs in pieces, in a folder too, and what is left of one that was killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import ratelike as rl
from tests.processes.stream_study import GRID, KEY, drive, network, streamed

pytestmark = pytest.mark.usefixtures("any_ranks")

SCRIPT = """
import jax
jax.config.update("jax_enable_x64", True)
from tests.processes import stream_study
stream_study.stuck({folder!r}, {file!r})
"""


def kill_where_it_is_stuck(folder, file):
    script = SCRIPT.format(folder=str(folder), file=file)
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )
    while not (folder / "stuck").exists():
        assert process.poll() is None, "ended early"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def whole():
    return rl.simulate(network(), drive(), GRID, rl.Spiking(), key=KEY, keep_final=True)


def test_pieces_are_handed_on_and_are_the_whole(whole):
    pieces = []
    state = streamed(pieces.append, record={0: rl.Spikes()})
    assert [len(piece.outputs) for piece in pieces] == [30, 30, 30, 10]
    outputs = np.concatenate([piece.outputs for piece in pieces])
    np.testing.assert_array_equal(outputs, whole.outputs)
    np.testing.assert_array_equal(
        np.concatenate([piece.times for piece in pieces]), whole.times
    )
    spikes = [time for piece in pieces for time in piece.spike_times(0)[3]]
    assert len(spikes) > 0
    assert np.all(np.diff(spikes) > 0.0)  # times are those of the whole run
    assert int(state.step) == GRID.num_steps


@pytest.mark.parametrize("file", ["state", "piece"])
def test_a_killed_run_goes_on_with_the_same_bits(whole, tmp_path, file):
    """kill -9 where the second piece is half written, or is written and the state after it is not."""
    kill_where_it_is_stuck(tmp_path, file)
    assert len(rl.study.read_stream(tmp_path).outputs) == 30
    assert list(tmp_path.glob("*.part"))
    state = streamed(tmp_path)
    run = rl.study.read_stream(tmp_path)
    np.testing.assert_array_equal(run.outputs, whole.outputs)
    np.testing.assert_array_equal(run.rates, whole.rates)
    np.testing.assert_array_equal(run.times, whole.times)
    assert not list(tmp_path.glob("*.part"))
    # What is finished is not run again, and tells its state.
    again = streamed(tmp_path)
    np.testing.assert_array_equal(again.outputs, state.outputs)
    with pytest.raises(ValueError, match="must be a folder of the same run"):
        streamed(tmp_path, key=jax.random.key(9))


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match="every must be"):
        streamed(print, every=0)
    with pytest.raises(ValueError, match="record must be None"):
        streamed(tmp_path, record={0: [1]})
    with pytest.raises(ValueError, match="write must be a function"):
        streamed(3)
    with pytest.raises(ValueError, match="has finished a piece"):
        rl.study.read_stream(tmp_path / "nothing")
