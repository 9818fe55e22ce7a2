"""Pictures of results, by matplotlib: each function takes `ax=`, draws one thing and returns the axes.

    with rl.plot.style():
        figure, (left, right) = plt.subplots(1, 2, layout="constrained")
        rl.plot.convergence(study, ax=left)
        rl.plot.traces({"spiking": a, "generalised rate": b}, ax=right)

Without `ax=` a figure is made in the library's style. `import ratelike` does not import matplotlib; `ratelike.plot` does.
"""

from ratelike.plot._bifurcation import bifurcation as bifurcation
from ratelike.plot._bode import bode as bode
from ratelike.plot._convergence import convergence as convergence
from ratelike.plot._density import density as density
from ratelike.plot._raster import raster as raster
from ratelike.plot._rates import rates as rates
from ratelike.plot._style import COLORS as COLORS
from ratelike.plot._style import style as style
from ratelike.plot._traces import traces as traces
from ratelike.plot._weights import weights as weights
