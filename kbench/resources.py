"""Where the files shipped beside the code are. Read `data_dir`.

A checkout keeps them in its top-level `data/`; a wheel carries the same folder as `kbench/data/`.
"""

from __future__ import annotations

from pathlib import Path

from kbench.errors import MachineLacksError


def data_dir() -> Path:
    """Return the folder with the lab kernel and the other files shipped with kbench.

    Raises
    ------
    MachineLacksError
        If neither a checkout's nor an installed folder is there.
    """
    package = Path(__file__).resolve().parent
    places = (package.parent / "data", package / "data")
    for place in places:
        if (place / "labkernel").is_dir():
            return place
    raise MachineLacksError(
        f"resources: expected data/labkernel in {places[0]} or {places[1]}, found neither; install kbench again"
    )


def notebooks_dir() -> Path:
    """Return the folder with the notebooks shipped with kbench; errors as for `data_dir`."""
    package = Path(__file__).resolve().parent
    places = (package.parent / "notebooks", package / "notebooks")
    for place in places:
        if (place / "bisect.ipynb").is_file():
            return place
    raise MachineLacksError(
        f"resources: expected bisect.ipynb in {places[0]} or {places[1]}, found neither; install kbench again"
    )
