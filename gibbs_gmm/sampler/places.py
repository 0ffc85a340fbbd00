"""Where the rows of a run are: here, on the workers of a cluster, or on a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gibbs_gmm import checks
from gibbs_gmm.device_rows import checked_device
from gibbs_gmm.kernels.types import AnyArray

if TYPE_CHECKING:
    from gibbs_gmm.sampler.rows import Away


def placed(X: Any, client: Any, device: Any, min_rows: int = 2) -> tuple[AnyArray, tuple[str, ...], Away | None]:
    """A table whose values are not looked at yet, the names of its columns, and where it is, if not here.

    ``client`` is that of a Dask cluster, or None; a Dask array is on one. ``device`` is "cpu" or "cuda".
    """
    on_cluster = client is not None or type(X).__module__.startswith("dask.")
    away: Away
    if checked_device(device) == "cuda":
        if on_cluster:
            raise ValueError(
                'device="cuda" takes rows on this machine, and client= or a Dask array puts them on others'
            )
        from gibbs_gmm.sampler.device import Device

        away = Device(X)
    elif on_cluster:
        from gibbs_gmm.sampler.machines import Cluster

        away = Cluster(X, client)
    else:
        return *checks.table(X, min_rows=min_rows), None
    return away.X, away.columns, away
