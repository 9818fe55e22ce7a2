"""Linear responses over frequency."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Array, Complex
from matplotlib.axes import Axes

from ratelike import _validation as validation
from ratelike._types import Numbers
from ratelike.plot._style import drawing_on, line_colors


def bode(
    frequencies: Numbers,
    gains: Mapping[str, Complex[Array, "frequencies latents_out latents_in"]],
    *,
    latent_out: int = 0,
    latent_in: int = 0,
    phase: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Gains of `rl.analysis.transfer_function` against frequency in Hz, both logarithmic; dashed the phase in degrees.

    One line for each of `gains`, from one latent in to one latent out. A frequency of 0 is left out. The phase has an axis
    of its own, on the right, and does not jump; not with `phase=False`.

    Raises `ValueError` for no gains, and for gains of another number of frequencies or without these latents.
    """
    validation.instance("gains", gains, Mapping)
    if not gains:
        raise ValueError("gains must name at least one transfer function, got none")
    frequencies = np.asarray(validation.parameter("frequencies", frequencies), float)
    latent_out = validation.count("latent_out", latent_out, at_least=0)
    latent_in = validation.count("latent_in", latent_in, at_least=0)
    colors = line_colors(list(gains))
    with drawing_on(ax) as ax:
        right = ax.twinx() if phase else None
        for (name, gain), color in zip(gains.items(), colors, strict=True):
            gain = np.asarray(gain)
            fits = gain.ndim == 3 and len(gain) == len(frequencies)
            if not fits or gain.shape[1] <= latent_out or gain.shape[2] <= latent_in:
                raise ValueError(
                    f"gains[{name!r}] must have shape ({len(frequencies)}, latents out, latents in) and the latents chosen, "
                    f"got {gain.shape}"
                )
            shown = frequencies > 0.0
            line = gain[shown, latent_out, latent_in]
            ax.loglog(frequencies[shown], np.abs(line), color=color, label=name)
            if right is not None:
                degrees = np.degrees(np.unwrap(np.angle(line)))
                right.semilogx(frequencies[shown], degrees, color=color, ls="--", lw=1)
        ax.set_xlabel("frequency (Hz)")
        ax.set_ylabel("gain")
        if right is not None:
            right.set_ylabel("phase (degrees, dashed)")
        ax.legend(loc="best")
    return ax
