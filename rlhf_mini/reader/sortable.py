"""A table that a reader can sort by any column, in the rendered book too, without any script but the page's
own buttons.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from rlhf_mini.reader.picture import Picture, framed

# A button's whole behaviour. An inline handler, not a script: it also runs where outputs are inserted as text
# (JupyterLab), and where it does not run, the table stands as it was written. Rows without a key stay below,
# whichever the direction.
_SORT = (
    "var h=this.closest('th'),t=h.closest('table'),b=t.tBodies[0],"
    "i=Array.prototype.indexOf.call(h.parentNode.cells,h),n=h.dataset.kind==='number',"
    "was=h.getAttribute('aria-sort'),down=was?was==='ascending':n;"
    "Array.prototype.forEach.call(h.parentNode.cells,function(o){o.removeAttribute('aria-sort')});"
    "h.setAttribute('aria-sort',down?'descending':'ascending');"
    "Array.prototype.slice.call(b.rows).sort(function(x,y){"
    "var p=x.cells[i].dataset.key,q=y.cells[i].dataset.key;"
    "if(p===''||q==='')return(p==='')-(q==='');"
    "var d=n?p-q:p.localeCompare(q);return down?-d:d"
    "}).forEach(function(r){b.appendChild(r)})"
)
_BUTTON = (
    "background:none;border:0;padding:0;margin:0;font:inherit;color:inherit;cursor:pointer;text-align:inherit"
)


@dataclass(frozen=True)
class Shown:
    """What stands in a place of the table, and what it is sorted by: a number, a text, or None where there is
    nothing.
    """

    text: str
    key: float | int | str | None = None


def shown(text: str) -> Shown:
    """A text that is its own key."""
    return Shown(text, text)


NOTHING = Shown("–")


def sortable_table(headings: Sequence[str], rows: Sequence[Sequence[Shown]], *, caption: str) -> Picture:
    """Rows under headings that are buttons: a click sorts by the column, another turns the order round.

    Numbers come largest first at the first click, texts in alphabetical order; rows that have nothing in the
    column stay last. Without HTML it is a table in Markdown, in the order given.

    Args:
        headings: the first is that of the rows' names.
        rows: one `Shown` a heading. A column holds numbers or texts, not both.
        caption: what the table shows and what its numbers mean.

    Raises:
        ValueError: on no rows, a row of another length, or a column of numbers and texts.
    """
    if not rows or any(len(row) != len(headings) for row in rows):
        got = sorted({len(row) for row in rows}) or "none"
        raise ValueError(f"need rows of {len(headings)} places each, got {got}")
    kinds = [_kind(heading, [row[place] for row in rows]) for place, heading in enumerate(headings)]
    head = "".join(
        f'<th scope="col" data-kind="{kind}"><button type="button" style="{_BUTTON}" '
        f'onclick="{html.escape(_SORT)}">{html.escape(heading)}</button></th>'
        for heading, kind in zip(headings, kinds, strict=True)
    )
    body = "".join(f"<tr>{_row(row)}</tr>" for row in rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    # The caption stands under the table, not in it: a wide table scrolls, and what explains it must not.
    return Picture(framed(table, alt="", caption=caption).body, _markdown(headings, rows, caption))


def _kind(heading: str, column: Sequence[Shown]) -> str:
    texts = {isinstance(one.key, str) for one in column if one.key is not None}
    if len(texts) > 1:
        raise ValueError(f"the column {heading!r} holds numbers and texts; one of them sorts it")
    return "text" if texts == {True} else "number"


def _row(row: Sequence[Shown]) -> str:
    first, *others = row
    key = "" if first.key is None else html.escape(str(first.key))
    cells = [f'<th scope="row" data-key="{key}">{html.escape(first.text)}</th>']
    for one in others:
        key = "" if one.key is None else html.escape(str(one.key))
        cells.append(f'<td data-key="{key}">{html.escape(one.text)}</td>')
    return "".join(cells)


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[Shown]], caption: str) -> str:
    lines = [list(headings), ["---"] * len(headings), *([one.text for one in row] for row in rows)]
    body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return f"{body}\n\n{caption}"
