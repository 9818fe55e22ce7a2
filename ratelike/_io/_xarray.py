"""xarray, when it is needed and not before: importing it takes seconds, and it is an extra."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xarray import Dataset as Dataset
else:
    Dataset = "xarray.Dataset"  # an annotation, which documentation shows


def make_dataset(
    caller: str,
    variables: Mapping[str, Any],
    coordinates: Mapping[str, Any],
    attributes: Mapping[str, Any],
) -> Dataset:
    """An `xarray.Dataset`. Raises `ImportError` that says how to install xarray for `ratelike.{caller}`."""
    try:
        import xarray
    except ImportError as error:
        raise ImportError(
            f"ratelike.{caller} needs xarray: pip install 'ratelike[io]', or pip install xarray h5netcdf h5py"
        ) from error
    return xarray.Dataset(variables, coordinates, attributes)
