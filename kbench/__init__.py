"""kbench finds the commit that broke (or fixed) a kernel, and says how sure it is.

    kernel = kbench.build("linux@v6.12", config="case.config", target="um")   # KernelImage
    with kbench.boot(kernel) as machine:                                      # Machine
        print(machine.run("uname -r").stdout)
    runs = kbench.repro(kernel, "repro.c", runs=20)                           # RunSet
    bisection = kbench.bisect("case.toml")                                    # BisectionReport, live in a notebook

    bisection = kbench.start("case.toml")                                     # the same in the background, to pause and mark

They are imported when they are used first: `import kbench` itself is light, probes nothing and prints nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kbench.primitives import bisect, boot, build, repro
    from kbench.running import start

__version__ = "0.1.0"
__all__ = ["__version__", "bisect", "boot", "build", "repro", "start"]

_PRIMITIVES = {**dict.fromkeys(("build", "boot", "repro", "bisect"), "primitives"), "start": "running"}


def __getattr__(name: str) -> Any:
    if name in _PRIMITIVES:
        return getattr(import_module(f"kbench.{_PRIMITIVES[name]}"), name)
    raise AttributeError(f"module 'kbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PRIMITIVES])
