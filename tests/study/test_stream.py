"""Long runs in pieces, in a folder too, and what is left of one that was killed."""

import jax
import numpy as np
import pytest

import ratelike as rl
from ratelike._study import _stream_folder

pytestmark = pytest.mark.usefixtures("any_ranks")

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


def test_a_killed_run_goes_on_with_the_same_bits(whole, tmp_path, monkeypatch):
    """Killed after a piece was written, and before the state."""
    save = _stream_folder.save

    def killed(path, what):
        if what["num_finished"] == 3:
            raise KeyboardInterrupt
        save(path, what)

    monkeypatch.setattr(_stream_folder, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        streamed(tmp_path)
    assert len(rl.study.read_stream(tmp_path).outputs) == 60
    monkeypatch.undo()
    state = streamed(tmp_path)
    run = rl.study.read_stream(tmp_path)
    np.testing.assert_array_equal(run.outputs, whole.outputs)
    np.testing.assert_array_equal(run.rates, whole.rates)
    np.testing.assert_array_equal(run.times, whole.times)
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
