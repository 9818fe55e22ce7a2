"""Results of `ratelike.convergence` and `ratelike.sweep`, on disk and in progress.

Convergence studies
    Convergence       errors against both rate networks, and rates, over network sizes
    SizeCurve         a value for each size and trial
    Slope             its slope in a log-log plot, with an interval
    Cell              a finished part of a study, as `on_cell` gets it
    ComparedDynamics  which dynamics are compared
    Execution         how a study runs: workers, devices, budget, progress

Trials
    Trials            means over runs of one network, standard errors, and spikes

Long runs
    read_stream       outputs and rates of what `ratelike.stream` has finished in a folder
    Streamed          what it returns

Sweeps
    SweepResult       the studies of all points of a sweep
    read_sweep        read what a sweep has finished
    SweepExecution    how a sweep runs: workers, devices, progress

Tables
    to_dataset        a trajectory or study as an xarray Dataset
    from_dataset      the study again
    to_dataframe      the outputs of a trajectory as a pandas DataFrame
    to_neo            recorded spikes as neo SpikeTrains
    to_pynapple       recorded spikes as a pynapple TsGroup

Progress
    Progress          how much is done, how fast, and how long it will take
"""

from ratelike._study._cell import Cell
from ratelike._study._compared_dynamics import ComparedDynamics
from ratelike._study._dataset import from_dataset, to_dataset
from ratelike._study._execution import Execution
from ratelike._study._progress import Progress
from ratelike._study._result import Convergence
from ratelike._study._size_curve import SizeCurve, Slope
from ratelike._study._spike_exports import to_dataframe, to_neo, to_pynapple
from ratelike._study._stream_folder import Streamed, read_stream
from ratelike._study._sweep._execution import SweepExecution
from ratelike._study._sweep._result import SweepResult, read_sweep
from ratelike._study._trials import Trials

__all__ = [
    "Cell",
    "ComparedDynamics",
    "Convergence",
    "Execution",
    "Progress",
    "SizeCurve",
    "Slope",
    "Streamed",
    "SweepExecution",
    "SweepResult",
    "Trials",
    "from_dataset",
    "read_stream",
    "read_sweep",
    "to_dataframe",
    "to_dataset",
    "to_neo",
    "to_pynapple",
]
