"""The book's Sphinx extension: scripts that load without a network, API pages, and tables of records.

Directives (in Markdown pages, as backtick fences; notebooks show records by a code cell instead):

- `api` with module names: one section for each, its public members from their docstrings; a package stands
  for its modules. A module added to a package appears by itself.
- `records` with the name of a file in book/results: its tables, by experiment and profile. Without a
  name, every file but those in `:except:`. Options: `:experiment:`, `:profile:`, `:decimals:`, and
  `:metrics: name=title; name=title` (default: every metric that is a number).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, ClassVar

import docstrings
import record_lines
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

MATHJAX = "es5/tex-svg-full.js"
CDN = "https://cdn.jsdelivr.net/npm"


def use_scripts(app: Sphinx, config: Config) -> None:
    """Take MathJax, require.js and the widgets' manager from the fetched copies, else from the CDN."""
    static = Path(app.srcdir) / "book/_static"
    config.html_static_path = [str(static)]
    config.html_context = {"default_mode": "auto"} | dict(config.html_context or {})
    config.mathjax3_config = {"options": {"enableMenu": False}}
    if (static / "vendor/packages.json").is_file():
        config.mathjax_path = f"vendor/mathjax/{MATHJAX}"
        widgets = "vendor/@jupyter-widgets/html-manager/dist/embed-amd.js"
        config.nb_ipywidgets_js = {"vendor/requirejs/require.js": {}, widgets: {}}
    else:
        config.mathjax_path = f"{CDN}/mathjax@3.2.2/{MATHJAX}"


def drop_thebe(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Leave Thebe out: no kernel is live here, and its constants stand twice on a page, an error."""
    context["script_files"] = [
        script
        for script in context.get("script_files", [])
        if "THEBE_JS_URL" not in str(getattr(script, "attributes", {}).get("body", ""))
        and "sphinx-thebe" not in str(getattr(script, "filename", script))
    ]


class Api(SphinxDirective):
    """`api`: sections with the public members of modules and packages."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        return [section for name in " ".join(self.content).split() for section in self.sections(name)]

    def sections(self, name: str) -> list[nodes.Node]:
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise self.error(f"there is no module {name}")
        if spec.submodule_search_locations is None:
            return [self.section(name, members=True)]
        made = [self.section(name, members=False)]
        for path in sorted(Path(spec.submodule_search_locations[0]).iterdir()):
            is_package = (path / "__init__.py").is_file()
            if (path.suffix == ".py" or is_package) and not path.name.startswith("_"):
                made += self.sections(f"{name}.{path.stem}")
        return made

    def section(self, name: str, *, members: bool) -> nodes.section:
        section = nodes.section(ids=[nodes.make_id(f"module-{name}")])
        section += nodes.title("", "", nodes.literal(text=name))
        options = "   :members:\n   :ignore-module-all:\n" if members else "   :no-members:\n   :no-index:\n"
        text = f"```{{eval-rst}}\n.. automodule:: {name}\n{options}```"
        self.state.nested_parse(StringList(text.splitlines(), source=f"api of {name}"), 0, section)
        return section


class Records(SphinxDirective):
    """`records`: tables rendered from the files of book/results, never typed in."""

    optional_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {
        "except": directives.unchanged,
        "experiment": directives.unchanged,
        "profile": directives.unchanged,
        "metrics": directives.unchanged,
        "decimals": directives.nonnegative_int,
    }

    def run(self) -> list[nodes.Node]:
        from rlhf_mini.evaluation.records import read_records

        folder = Path(self.env.srcdir) / "book/results"
        if self.arguments:
            paths = [folder / f"{self.arguments[0]}.json"]
        else:
            left_out = self.options.get("except", "").split()
            paths = [path for path in sorted(folder.glob("*.json")) if path.stem not in left_out]
        paths = [path for path in paths if path.is_file()]
        lines: list[str] = []
        for path in paths:
            self.env.note_dependency(str(path))
            lines += self.tables(path, read_records(path))
        if not lines:
            lines = ["*No records yet: no run has been committed here.*"]
        holder = nodes.container(classes=["records"])
        self.state.nested_parse(StringList(lines, source="records"), 0, holder)
        return [holder]

    def tables(self, path: Path, records: list[Any]) -> list[str]:
        """Markdown lines for the records that the options ask for."""
        wanted = [
            record
            for record in records
            if all(getattr(record, field) == self.options.get(field, getattr(record, field))
                   for field in ("experiment", "profile"))
        ]  # fmt: skip
        return record_lines.lines_of(
            wanted, file=path.name, metrics=self.metrics(), decimals=self.options.get("decimals", 2)
        )

    def metrics(self) -> dict[str, str] | None:
        """The metrics asked for, or None for every one that is a number."""
        if "metrics" not in self.options:
            return None
        pairs = [entry.partition("=") for entry in self.options["metrics"].split(";")]
        return {name.strip(): title.strip() or name.strip() for name, _, title in pairs}


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the book's parts with Sphinx."""
    if not (Path(app.srcdir) / "book/_static").is_dir():
        raise ExtensionError("the book is built from the repository's root: run `make book`")
    app.add_directive("api", Api)
    app.add_directive("records", Records)
    app.add_css_file("book.css", priority=900)
    app.add_js_file("book.js", priority=100)
    app.connect("config-inited", use_scripts, priority=100)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("autodoc-process-docstring", docstrings.process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
