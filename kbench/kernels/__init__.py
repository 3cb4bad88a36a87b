"""Build: source, config and toolchain become a `KernelImage` with its signature and the files that went in."""

from kbench.kernels.builder import Builder, compile_tree, compiler
from kbench.kernels.signature import signature
from kbench.kernels.store import Store

__all__ = ["Builder", "Store", "compile_tree", "compiler", "signature"]
