"""Docstrings as the library writes them, turned into reStructuredText that Sphinx can read without a warning.

They are meant for `help()`: plain paragraphs, `name: what it is` lines or sections headed `Args:`, indented
equations, lists, small Markdown tables, examples. Names with underscores, powers and absolute values mean
something else in reStructuredText, so everything outside code, mathematics and emphasis is escaped.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable

_NAME = r"\*{0,2}`*[A-Za-z_][\w.]*`*"
_ARGUMENT = re.compile(rf"^(?P<names>{_NAME}(?:(?:, | and ){_NAME})*):\s+(?P<rest>\S.*)$")
_HEADING = re.compile(
    r"^(Args|Arguments|Attributes|Fields|Returns|Raises|Yields|Examples?|Notes?|Gradients?|Papers?):$"
)
_TITLES = {"Args": "Arguments"}
_ITEM = re.compile(r"^(?:[-*•]|\d+[.)])\s+")
_OWN_PARAGRAPH = re.compile(r"^(Returns?|Raises|Yields|Gradients?|No gradient|Papers?|Departures?)\b")
_EQUATION = re.compile(r"^[\w()\[\]]+\s+=\s")
_MARKUP = re.compile(r"(``.+?``|`[^`]+`|\$[^$]+\$|(?<![\w*])\*[^*\s](?:[^*]*[^*\s])?\*(?![\w*]))")


def escape(text: str) -> str:
    """One paragraph's text: code, mathematics and emphasis kept as such, every other mark made harmless."""
    pieces = _MARKUP.split(text)
    made = ""
    for index, piece in enumerate(pieces):
        if index % 2 == 0:
            made += re.sub(r"([\\*_|`])", r"\\\1", piece)
            continue
        inner = piece.strip("`$*").strip()
        marked = {"`": f"``{inner}``", "$": f":math:`{inner}`", "*": f"*{inner}*"}[piece[0]]
        # Markup must stand apart from the characters around it; an escaped space does that and shows nothing.
        before = "\\ " if made and not made[-1].isspace() else ""
        after = "\\ " if pieces[index + 1][:1].strip() else ""
        made += before + marked + after
    return made.strip()


def _paragraphs(lines: list[str]) -> list[str]:
    """Join a block's lines; an argument, an item or a `Returns` at the margin begins a new paragraph."""
    found: list[str] = []
    for line in lines:
        starts = any(pattern.match(line) for pattern in (_ARGUMENT, _ITEM, _OWN_PARAGRAPH))
        if found and not starts:
            found[-1] += " " + line.strip()
        else:
            found.append(line.strip())
    return found


def _text(lines: list[str], *, entries: bool) -> list[str]:
    """Paragraphs and bullets. Arguments become bullets; with `entries` every paragraph is one."""
    made: list[str] = []
    for paragraph in _paragraphs(lines):
        argument = None if _OWN_PARAGRAPH.match(paragraph) else _ARGUMENT.match(paragraph)
        item = _ITEM.match(paragraph)
        if argument:
            made.append(f"- ``{argument['names'].replace('`', '')}``: {escape(argument['rest'])}")
        elif item or entries:
            made.append(f"- {escape(paragraph[item.end() :] if item else paragraph)}")
        else:
            made += ["", escape(paragraph), ""]
    return [*made, ""]


def _example(lines: list[str]) -> list[str]:
    return [*textwrap.dedent("\n".join(lines)).splitlines(), ""]


def _literal(lines: list[str]) -> list[str]:
    return ["::", "", *textwrap.indent(textwrap.dedent("\n".join(lines)), "    ").splitlines(), ""]


def _table(lines: list[str]) -> list[str]:
    """A Markdown table as a list-table."""
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    rows = [row for row in rows if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]
    made = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        made += [f"   {'*' if index == 0 else ' '} - {escape(cell)}" for index, cell in enumerate(row)]
    return [*made, ""]


def _kind(line: str, before: str, kind: str) -> str:
    """What a line is, given the line before it in its block and what that one was."""
    if line.lstrip().startswith(">>>") or kind == "example":
        return "example"
    if line.startswith("|") and line.rstrip().endswith("|"):
        return "table"
    indented = line.startswith("  ") and (kind in ("", "literal") or before.rstrip().endswith(":"))
    if indented or (_EQUATION.match(line) and kind in ("", "literal")):
        return "literal"
    return "text"


def _block(block: list[str], *, entries: bool) -> list[str]:
    """One block between blank lines: runs of text, literal lines, table rows or an example."""
    runs: list[tuple[str, list[str]]] = []
    for line in block:
        kind, before = (runs[-1][0], runs[-1][1][-1]) if runs else ("", "")
        new = _kind(line, before, kind)
        if new == kind:
            runs[-1][1].append(line)
        else:
            runs.append((new, [line]))
    writers: dict[str, Callable[[list[str]], list[str]]] = {
        "example": _example,
        "literal": _literal,
        "table": _table,
    }
    made = []
    for kind, lines in runs:
        made += _text(lines, entries=entries) if kind == "text" else writers[kind](lines)
    return made


def _sections(lines: list[str]) -> list[tuple[str, list[str]]]:
    """Cut at headings such as `Args:`; their indented content is dedented."""
    found: list[tuple[str, list[str]]] = [("", [])]
    for line in lines:
        if heading := _HEADING.match(line):
            found.append((heading[1], []))
        elif found[-1][0] and line and not line.startswith(" "):
            found.append(("", [line]))
        else:
            found[-1][1].append(line)
    return [(heading, textwrap.dedent("\n".join(body)).strip("\n").split("\n")) for heading, body in found]


def to_rst(lines: list[str]) -> list[str]:
    """The docstring's lines as reStructuredText."""
    made: list[str] = []
    for heading, body in _sections(lines):
        if heading:
            made += [f"**{_TITLES.get(heading, heading)}**", ""]
        blocks = [block.split("\n") for block in re.split(r"\n\s*\n", "\n".join(body)) if block.strip()]
        for block in blocks:
            entries = heading in ("Raises",) and not block[0].lstrip().startswith(">>>")
            made += _block(block, entries=entries)
    return made


def process(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Sphinx event `autodoc-process-docstring`: rewrites the lines in place."""
    lines[:] = to_rst(lines)
