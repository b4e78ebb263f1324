"""Which rows a selection keeps of the documents it selects from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.dataset import Dataset
from pipeline.report.reading import files
from pipeline.shards import committed_file, read_keep


def keep_bitmap(selection: Dataset, shard: int) -> npt.NDArray[np.bool_]:
    """A value per row of the shard of that number of the documents it selects from."""
    ((_, file),) = files(selection, "shards", ".keep", [shard])
    return read_keep(committed_file(selection.run.storage, file)).to_numpy()
