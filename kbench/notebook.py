"""Run a notebook of ours, and read what it found. Read `execute` first.

Papermill in this process; the kernel is this very interpreter, whatever kernels the user has installed.
"""

from __future__ import annotations

import ast
import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kbench import errors
from kbench.errors import InputError, KbenchError
from kbench.leash import Leash

# What a declared type takes.
_TYPES: dict[str, type | tuple[type, ...]] = {
    "str": str, "int": int, "float": (int, float), "bool": bool, "list": list, "dict": dict, "tuple": (list, tuple),
}  # fmt: skip
RESULT = "application/vnd.kbench.result+json"  # the output a notebook leaves its result in


def execute(
    notebook: Path,
    output: Path,
    parameters: Mapping[str, Any],
    *,
    timeout_s: float | None = None,
    progress: bool = False,
    cwd: Path | None = None,
    leaves_result: bool = True,
    leash: Leash | None = None,
) -> dict[str, Any]:
    """Run a notebook with parameters, save it executed, sign it for JupyterLab, and return the result it left.

    Several may run at once, each in a thread.

    Parameters
    ----------
    notebook, output : Path
        The template, which is not changed, and the executed copy. The copy is kept when a cell fails: it shows the error.
    parameters : mapping
        Values for names of the cell tagged `parameters`; a `Path` becomes text.
    timeout_s : float, optional
        Wall clock of one cell; None: no limit.
    progress : bool
        Show papermill's progress bar.
    cwd : Path, optional
        The folder the notebook runs in; this process's by default.
    leaves_result : bool
        False: a notebook that ends without a result is fine, and {} is returned.
    leash : Leash, optional
        Ends the kernel, and what that started, from another thread.

    Raises
    ------
    InputError
        If the notebook cannot be read, or does not know a parameter; nothing was run.
    KbenchError
        If a cell fails (in the class of the error if it is one of ours), takes too long, the kernel dies, or the notebook
        ends without a result. `.output` is the executed copy.
    """
    import nbformat  # Jupyter is loaded only to run a notebook
    from nbformat.sign import NotebookNotary

    values = {name: str(value) if isinstance(value, Path) else value for name, value in parameters.items()}
    check_parameters(notebook, values)
    leash = leash or Leash()
    try:
        _run(notebook, output, values, timeout_s, progress, _this_python(cwd, leash))
    finally:
        leash.end()
    executed = nbformat.read(output, as_version=4)  # type: ignore[no-untyped-call]  # nbformat has none
    result = _left_result(executed)
    if result is None and leaves_result:
        raise KbenchError(f"notebook: expected a result in {output}, found none; end it with leave_result", output=output)
    # Only a signed notebook shows its widgets when it is opened. This one is ours: made from our template just now.
    NotebookNotary().sign(executed)  # type: ignore[no-untyped-call]
    return result or {}


def leave_result(result: Mapping[str, Any], **more: Any) -> None:
    """Leave a result as this cell's output, as JSON, for `execute` and other programs; `more` is added, paths as text."""
    from IPython.display import display  # loaded already: this is a notebook

    values = {name: str(value) if isinstance(value, Path) else value for name, value in {**result, **more}.items()}
    display({RESULT: values, "text/plain": json.dumps(values, indent=1)}, raw=True)  # type: ignore[no-untyped-call]  # IPython's


def check_parameters(notebook: Path, values: Mapping[str, Any]) -> None:
    """Raise InputError when a notebook cannot be read, does not know one of the parameters, or declares another type for it."""
    import nbformat
    import papermill

    if not notebook.is_file():
        raise InputError(f"notebook: expected a notebook, no file {notebook}; give the path of an .ipynb")
    try:
        known = papermill.inspect_notebook(str(notebook))
    except (ValueError, AttributeError, nbformat.ValidationError, papermill.exceptions.PapermillException) as err:
        seen = " ".join(str(err).split())[:200]
        raise InputError(f"notebook: expected a Python notebook, {notebook} is none ({seen}); give an .ipynb") from err
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise InputError(f"notebook: unknown parameter {', '.join(unknown)} of {notebook.name}; it has {', '.join(known)}")
    for name, value in values.items():
        declared = _declared(known[name])
        if declared in _TYPES and (not isinstance(value, _TYPES[declared]) or (isinstance(value, bool) and declared != "bool")):
            raise InputError(f"notebook: {name} of {notebook.name} takes {declared}, got {value!r}; give a value of that type")


def _declared(parameter: Mapping[str, Any]) -> str:
    # What is annotated, without what is in its brackets; else the type of the value it has.
    annotated = str(parameter["inferred_type_name"]).partition("[")[0].strip()
    if annotated not in ("", "None"):
        return annotated
    try:
        return type(ast.literal_eval(parameter["default"])).__name__
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return ""


def _run(notebook: Path, output: Path, values: Mapping[str, Any], timeout_s: float | None, progress: bool, manager: type) -> None:
    import papermill
    from nbclient.exceptions import CellTimeoutError
    from traitlets.config import Config

    # Without it ipykernel warns at each start, and the warning lands in the notebook.
    encrypted = {"transport_encryption": "auto"}
    try:
        papermill.execute_notebook(
            _literal(notebook), _literal(output), parameters=dict(values),
            kernel_name="python3", language="python", progress_bar=progress,
            execution_timeout=math.ceil(timeout_s) if timeout_s else None, kernel_manager_class=manager,
            config=Config({"KernelManager": encrypted, "AsyncKernelManager": encrypted}),
        )  # fmt: skip
    except papermill.exceptions.PapermillExecutionError as err:
        ours = getattr(errors, str(err.ename), KbenchError)
        seen = f"notebook: expected every cell to run, seen {err.ename}: {err.evalue}; see {output}"
        message = seen if ours is KbenchError else str(err.evalue)
        raise ours(message, output=output) from err
    except CellTimeoutError as err:
        message = f"notebook: expected each cell to end in {timeout_s:g} s, one did not; see {output}, or allow more"
        raise KbenchError(message, output=output) from err
    except RuntimeError as err:  # nbclient's DeadKernelError is one, and so is a kernel that does not come up
        message = f"notebook: expected a kernel to the end, it died; see {output}, and run it again to resume"
        raise KbenchError(message, output=output) from err
    except OSError as err:
        raise errors.StorageError(f"notebook: cannot write {output}, {err.strerror}; choose another output") from err


def _literal(path: Path) -> str:
    # papermill formats both paths with the parameters.
    return str(path).replace("{", "{{").replace("}", "}}")


def _this_python(cwd: Path | None, leash: Leash) -> type:
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    class ThisPython(AsyncKernelManager):
        """Starts this interpreter; a kernelspec "python3" of the user may be another Python, without kbench."""

        @property
        def kernel_spec(self) -> KernelSpec:
            spec = KernelSpec(**get_kernel_dict())
            spec.argv = [sys.executable, *spec.argv[1:]]
            return spec

        async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]  # as in AsyncKernelManager
            await super().start_kernel(**(options if cwd is None else options | {"cwd": str(cwd)}))
            leash.hold(os.getpgid(self.provisioner.pid))  # type: ignore[union-attr]  # a process of this machine

    return ThisPython


def _left_result(executed: Any) -> dict[str, Any] | None:
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    found = [output.data[RESULT] for output in outputs if RESULT in output.get("data", {})]
    return dict(found[-1]) if found else None
