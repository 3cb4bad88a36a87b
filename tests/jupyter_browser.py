"""Chromium, and JupyterLab on this machine alone, for the browser tests. Read `open_page` and `jupyter_lab` first."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

CHROMIUM = "/usr/bin/chromium"
VOILA_TEMPLATE = Path(__file__).parents[1] / "kbench" / "widgets" / "voila"
SHOTS = os.environ.get("KBENCH_SHOTS")  # a folder: keep pictures of what was seen
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@contextmanager
def chromium() -> Iterator[Any]:
    """Run a Chromium that cannot resolve any other machine's name."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, headless=True, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """A page, with what it did that it should not."""

    page: Any
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)  # to anything but a file and this machine

    def hacked(self) -> bool:
        """Tell whether text of a kernel ran as a script."""
        return bool(self.page.evaluate("'hacked' in window"))


@contextmanager
def open_page(browser: Any, url: str, *, width: int = 1100, height: int = 900, scheme: str = "light") -> Iterator[Watched]:
    """Open a page and note its errors and its requests."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    watched = Watched(context.new_page())
    watched.page.on("pageerror", lambda error: watched.errors.append(str(error)))
    watched.page.on("console", lambda message: message.type == "error" and watched.errors.append(message.text))
    watched.page.on("request", lambda request: _note(watched, request.url))
    try:
        watched.page.goto(url)
        yield watched
    finally:
        context.close()


def home(folder: Path) -> dict[str, str]:
    """Return the environment that gives Jupyter folders of its own."""
    return {name: str(folder / "home" / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}


def launcher(page: Any) -> Any:
    """Return our section of JupyterLab's launcher."""
    return page.locator(".jp-Launcher-section", has=page.locator(".jp-Launcher-sectionTitle", has_text="kbench"))


def write_watching(path: Path) -> None:
    """Write a notebook that starts to bisect the lab beside it and shows the dashboard."""
    code = 'import kbench\nbisection = kbench.start("lab/case.toml")\nbisection'
    cells = [nbformat.v4.new_code_cell(code)]  # type: ignore[no-untyped-call]
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    made = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})  # type: ignore[no-untyped-call]
    nbformat.write(made, path)  # type: ignore[no-untyped-call]


def shoot(page: Any, name: str) -> None:
    """Keep a picture of a page, if somebody wants to see it."""
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{SHOTS}/{name}.png", full_page=not name.startswith("lab"))


def _note(watched: Watched, url: str) -> None:
    if not url.startswith(("file:", "data:", "blob:", "http://127.0.0.1:", "ws://127.0.0.1:")):
        watched.requests.append(url)


# Windowing may leave cells out of the page that a test looks for.
_OVERRIDES = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
}


@contextmanager
def jupyter_lab(root: Path, env: Mapping[str, str]) -> Iterator[str]:
    """Serve `root` with JupyterLab; yields a URL to format with the notebook's name."""
    port, token = _free_port(), secrets.token_hex(16)
    settings = root / "lab-settings"
    settings.mkdir()
    (settings / "overrides.json").write_text(json.dumps(_OVERRIDES))
    argv = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={root}", "--expose-app-in-browser",
        f"--IdentityProvider.token={token}", f"--LabApp.app_settings_dir={settings}", "--LabApp.extension_manager=readonly",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=",
        "--KernelManager.shutdown_wait_time=2", "--KernelManager.transport_encryption=auto",
    ]  # fmt: skip
    with _served(argv, f"http://127.0.0.1:{port}/api/status?token={token}", root, env):
        yield f"http://127.0.0.1:{port}/lab/tree/{{}}?reset&token={token}"


@contextmanager
def voila(notebook: Path, env: Mapping[str, str]) -> Iterator[str]:
    """Serve a notebook with voila, in our template; yields its URL."""
    folder, port, token = notebook.parent, _free_port(), secrets.token_hex(16)
    templates = folder / "share" / "voila" / "templates"
    templates.mkdir(parents=True)
    (templates / "kbench").symlink_to(VOILA_TEMPLATE)
    argv = [
        sys.executable, "-m", "voila", str(notebook), "--no-browser", "--template=kbench", f"--port={port}",
        f"--token={token}", "--Voila.ip=127.0.0.1", "--KernelManager.transport_encryption=auto",
    ]  # fmt: skip
    paths = os.pathsep.join(path for path in (str(templates.parents[1]), os.environ.get("JUPYTER_PATH")) if path)
    with _served(
        argv, f"http://127.0.0.1:{port}/voila/static/voila-style.js?token={token}", folder, {**env, "JUPYTER_PATH": paths}
    ):
        yield f"http://127.0.0.1:{port}/?token={token}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _served(argv: Sequence[str], url: str, folder: Path, env: Mapping[str, str]) -> Iterator[None]:
    """Run a server in a folder until `url` answers; end it and all it started."""
    log = folder / "server.log"
    with log.open("wb") as file:
        server = subprocess.Popen(
            argv,
            env={**os.environ, **env},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        _wait(url, server, log)
        yield
    finally:
        server.terminate()  # lets it end its kernels
        with suppress(subprocess.TimeoutExpired):
            server.wait(15)
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and server.poll() is None:
        with suppress(OSError, urllib.error.URLError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.1)
    raise TimeoutError(f"jupyter: expected an answer in 60 s; {log.read_text()[-2000:]}")


def run_all(page: Any) -> None:
    """Run all cells of the open notebook, as a person would."""
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
    # The page says "idle" before there is any kernel; only the session knows.
    page.wait_for_function(
        """() => {
          const session = window.jupyterapp?.shell.currentWidget?.sessionContext, kernel = session?.session?.kernel;
          return kernel && session.isReady && kernel.connectionStatus === 'connected' && kernel.status === 'idle';
        }""",
        timeout=60_000,
    )
    page.locator(".lm-MenuBar-item", has_text="Run").first.click()
    page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()
