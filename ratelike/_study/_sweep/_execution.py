"""How a sweep is computed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ratelike import _validation as validation
from ratelike._study._sweep._environment import Device

Claim = Callable[[str], Any]  # path of a lock file -> filelock.BaseFileLock


@dataclass(frozen=True)
class SweepExecution:
    """How much of a sweep is computed at a time, on what devices, and how processes share its folder.

    `budget`
        Neurons per layer in each cell of the default measurement, by default the largest of `num_neurons`. It decides
        how many trials a cell holds, and belongs to the sweep's configuration; the error of a trial does not depend on it.
        A larger network has a cell, and a compiled program, by itself.
    `workers`, `devices`
        `workers` cells at a time, in threads, on each of `devices`, by default on all local devices of the process.
        By default as many cells as there are cores, for the default measurement on a CPU that is one device; else one.
        Results do not depend on either, if the devices are of one kind.
    `claim`
        How a process claims a cell: a function of the path of a lock file that returns a lock of the filelock package.
        By default a lock of the operating system (flock), which is free again at the moment its process is killed. On a
        file system without locks (NFS mounted with `nolock`) a cell may be computed twice, to the same numbers;
        `functools.partial(filelock.SoftFileLease, lease_duration=60)` claims by files and a heartbeat instead. All
        processes that share a folder have to claim alike; another claim is refused.
    `progress`
        Wraps the iterable of unfinished cells: `ratelike.study.Progress()` and `tqdm.tqdm` do.

    Raises `ValueError` for counts < 1, no devices, and what should be a function or a device and is not.
    """

    budget: int | None = None
    workers: int | None = None
    devices: Sequence[Device] | None = None
    claim: Claim | None = None
    progress: Callable[[Iterable[Any]], Iterable[Any]] | None = None

    def __post_init__(self) -> None:
        for name in ("workers", "budget"):
            value = getattr(self, name)
            if value is not None:
                count = validation.count(f"SweepExecution.{name}", value)
                object.__setattr__(self, name, count)
        if self.claim is not None:
            validation.function("SweepExecution.claim", self.claim, "a path")
        if self.progress is not None:
            validation.function("SweepExecution.progress", self.progress, "an iterable")
        if self.devices is not None:
            validation.instance("SweepExecution.devices", self.devices, Sequence)
            if not self.devices:
                raise ValueError(
                    "SweepExecution.devices must hold at least one device, got none"
                )
            for device in self.devices:
                validation.instance("SweepExecution.devices", device, Device)
