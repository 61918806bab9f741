"""Bug hunts: a plausible wrong function to read, and an answer folded away that shows the line."""

import ast
import difflib
import html
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

from rlhf_mini.reader.picture import Picture
from rlhf_mini.reader.source import show_source


@dataclass(frozen=True, kw_only=True)
class BugHunt:
    """A wrong function, the right one, and what the difference does.

    Args:
        title: what a colleague reports.
        wrong, right: functions that differ in the bug only; names and docstrings may differ too.
        explanation: what is wrong, and how it makes the symptom.
        source: who met a bug of this kind, and where. link: its address, https.

    Raises:
        ValueError: if the two functions do not differ, or the link is not https.
    """

    title: str
    wrong: Callable
    right: Callable
    explanation: str
    source: str
    link: str

    def __post_init__(self) -> None:
        if not self.changes():
            raise ValueError(f"bug hunt {self.title!r}: the wrong and the right function do not differ")
        if not self.link.startswith("https://"):
            raise ValueError(f"bug hunt {self.title!r}: cite a page by https, got {self.link!r}")

    def code(self) -> Picture:
        """The source of the wrong function, as the library runs it."""
        return show_source(self.wrong)

    def changes(self) -> list[str]:
        """The lines that mend it, as a unified diff without its head; docstrings are left out."""
        before, after = (_bare_source(function) for function in (self.wrong, self.right))
        return [*difflib.unified_diff(before, after, lineterm="", n=2)][3:]

    def answer(self) -> Picture:
        """The lines that mend it, what was wrong, and where such a bug was met; folded away."""
        marks = {"+": "rm-yes", "-": "rm-no"}
        lines = "\n".join(
            f'<span class="{marks.get(line[:1], "rm-c")}">{html.escape(line)}</span>'
            for line in self.changes()
            if not line.startswith("@@")
        )
        met = f'Met in practice: <a href="{html.escape(self.link)}">{html.escape(self.source)}</a>.'
        body = (
            f'<details class="rm-hunt"><summary>The bug</summary><p>{html.escape(self.explanation)}</p>'
            f'<pre tabindex="0"><code>{lines}</code></pre><p>{met}</p></details>'
        )
        return Picture(body, f"The bug is folded away in the book. {self.title}")


def _bare_source(function: Callable) -> list[str]:
    """The function's lines without its name and docstring, comments kept."""
    source = textwrap.dedent(inspect.getsource(function))
    definition = ast.parse(source).body[0]
    lines = source.splitlines()
    body = definition.body  # type: ignore[attr-defined]
    if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        del lines[body[0].lineno - 1 : body[0].end_lineno]
    return [line.replace(f"def {function.__name__}(", "def f(") for line in lines]
