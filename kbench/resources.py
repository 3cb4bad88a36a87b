"""Where the files shipped beside the code are. Read `data_dir`.

A checkout keeps them in its top-level `data/`; a wheel carries the same folder as `kbench/data/`.
"""

from __future__ import annotations

from pathlib import Path

from kbench.errors import MachineLacksError


def data_dir() -> Path:
    """Return the folder with the lab kernel.

    Raises
    ------
    MachineLacksError
        If neither a checkout's nor an installed folder is there.
    """
    return _shipped("data", "labkernel")


def notebooks_dir() -> Path:
    """Return the folder with the notebooks; errors as for `data_dir`."""
    return _shipped("notebooks", "bisect.ipynb")


def _shipped(folder: str, marker: str) -> Path:
    package = Path(__file__).resolve().parent
    places = (package.parent / folder, package / folder)
    for place in places:
        if (place / marker).exists():
            return place
    raise MachineLacksError(f"resources: expected {marker} in {places[0]} or {places[1]}, found neither; install kbench again")
