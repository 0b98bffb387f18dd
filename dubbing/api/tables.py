"""Arrow tables handed to pandas, which is needed for nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from dubbing.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["to_pandas"]


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """The table as a pandas DataFrame. Raises InputError where pandas is not installed."""
    try:
        import pandas  # noqa: F401 - only whether it is there
    except ImportError as e:
        raise InputError("pandas is not installed; pip install 'dubbing[pandas]', or use the Arrow table.") from e
    return table.to_pandas()
