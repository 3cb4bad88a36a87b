"""An executed notebook as one HTML file in which our widgets work without a kernel and without a network.

nbconvert's own page loads the widgets' code from elsewhere. Here a widget's saved state becomes JSON in the page, drawn by
this package's own code: a notebook's saved code is not run. Read `export_html` first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import DictLoader
from nbconvert.exporters import HTMLExporter
from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode
from traitlets.config import Config

from kbench.errors import InputError
from kbench.widgets import assets, payload

_VIEW = "application/vnd.jupyter.widget-view+json"
_STATE = "application/vnd.jupyter.widget-state+json"

# The blocks left empty load code from a network.
_TEMPLATE = """{%- extends 'lab/index.html.j2' -%}
{% block html_head_js %}{% endblock %}
{% block jupyter_widgets %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block html_head_css %}<style>{{ resources.kbench_style }}</style>{% endblock %}
{% block footer_js %}<script type="module">{{ resources.kbench_module }}</script>{% endblock %}
"""


class DrawWidgets(Preprocessor):
    """Replace each of our widgets by what a page needs to draw it; another widget shows those in it, or its still form."""

    enabled = True

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        """Return the notebook without widgets, and the resources with the drawing code."""
        models = nb.metadata.pop("widgets", {}).get(_STATE, {}).get("state", {})
        outputs = [output for cell in nb.cells for output in cell.get("outputs", []) if _VIEW in output.get("data", {})]
        for number, output in enumerate(outputs):
            pictures = _pictures(models, output.data.pop(_VIEW).get("model_id"))
            places = [assets.placeholder(f"kbench-{number}-{index}", values) for index, values in enumerate(pictures)]
            if places:
                page = {"text/html": "\n".join(places)}
                output.data = NotebookNode(page)  # type: ignore[no-untyped-call]  # nbformat has none
        resources["kbench_style"] = assets.style("bisection.css")
        resources["kbench_module"] = assets.page_module()
        return nb, resources


def _pictures(models: Mapping[str, Any], model_id: str) -> Iterator[dict[str, Any]]:
    # Values of our pictures: the widget's own, else those of the widgets it holds, in order, each once.
    waiting, seen = [model_id], set[str]()
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        model = models.get(name, {})
        values = _our_values(model)
        if values is not None:
            yield values
        waiting[:0] = [str(child).removeprefix("IPY_MODEL_") for child in model.get("state", {}).get("children", ())]


def _our_values(model: Mapping[str, Any]) -> dict[str, Any] | None:
    state = model.get("state", {})
    picture = state.get("picture") if str(state.get("_anywidget_id", "")).startswith("kbench.widgets.") else None
    if picture in payload.PICTURES:
        return {name: state.get(name) for name in payload.NAMES}
    if picture != "belief":
        return None
    arrays = {buffer["path"][0]: {"base64": buffer["data"]} for buffer in model.get("buffers", ())}
    return {**{name: state.get(name) for name in payload.BELIEF}, **{name: arrays.get(name) for name in payload.BELIEF_BYTES}}


class KbenchHTMLExporter(HTMLExporter):
    """nbconvert's page of a notebook, self-contained: `jupyter nbconvert --to kbench_html NOTEBOOK`."""

    export_from_notebook = "HTML with live bisections"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(  # type: ignore[no-untyped-call]  # nbconvert has none
            extra_loaders=[DictLoader({"kbench.html.j2": _TEMPLATE})], **kwargs
        )

    @property
    def default_config(self) -> Config:
        """HTMLExporter's configuration, with our preprocessor."""
        config = Config({"KbenchHTMLExporter": {"preprocessors": [DrawWidgets], "template_file": "kbench.html.j2"}})
        inherited: Config = super().default_config.copy()
        inherited.merge(config)
        return inherited


def export_html(notebook: Path, output: Path) -> None:
    """Write an executed notebook as one HTML file that asks no network for anything.

    Raises
    ------
    InputError
        If `notebook` cannot be read as a notebook.
    """
    try:
        node = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]  # nbformat has none
    except (OSError, ValueError, nbformat.reader.NotJSONError, nbformat.ValidationError) as err:
        raise InputError(f"export: need a notebook, {notebook} is not readable as one ({err}); run it first") from err
    body, _ = KbenchHTMLExporter().from_notebook_node(node, resources={"metadata": {"name": notebook.stem}})
    output.write_text(body, encoding="utf-8")
