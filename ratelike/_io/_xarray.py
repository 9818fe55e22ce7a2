"""xarray, when it is needed and not before: importing it takes seconds, and it is an extra."""

from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray  # noqa: F401


def import_xarray(caller: str) -> ModuleType:
    """Raises `ImportError` that says how to install it."""
    try:
        import xarray
    except ImportError as error:
        raise ImportError(
            f"ratelike.{caller} needs xarray: pip install 'ratelike[io]', or pip install xarray h5netcdf h5py"
        ) from error
    return xarray
