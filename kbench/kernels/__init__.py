"""Build: source, config and toolchain become a `KernelImage` with its signature and the files that went in."""

from kbench.kernels.builder import Builder
from kbench.kernels.compile import compile_tree
from kbench.kernels.signature import signature
from kbench.kernels.store import Store
from kbench.kernels.toolchain import compiler

__all__ = ["Builder", "Store", "compile_tree", "compiler", "signature"]
