"""The table that sorts: what its buttons and places carry, and what is refused."""

import html
import json
import re
import shutil
import subprocess

import pytest

from rlhf_mini.reader.sortable import NOTHING, Shown, shown, sortable_table

HEADINGS = ("method", "gold", "chapter")
ROWS = [
    [shown("PPO"), Shown("3.30 ± 0.1", 3.3), shown("05")],
    [shown("base"), NOTHING, shown("02")],
    [shown("a <b>"), Shown("−1.00", -1.0), shown("07")],
    [shown("DPO"), Shown("12.00", 12.0), shown("07")],
]


def test_places_carry_what_they_are_sorted_by():
    body = sortable_table(HEADINGS, ROWS, caption="What it shows & how").body
    assert '<th scope="row" data-key="PPO">PPO</th><td data-key="3.3">3.30 ± 0.1</td>' in body
    assert '<td data-key="">–</td>' in body
    assert "a &lt;b&gt;" in body
    assert "<b>" not in body
    assert "What it shows &amp; how" in body
    assert re.findall(r'data-kind="(\w+)"', body) == ["text", "number", "text"]
    assert body.count('<button type="button"') == 3
    assert "<script" not in body


def test_it_reads_as_markdown_in_the_order_given():
    text = sortable_table(HEADINGS, ROWS, caption="What it shows").text
    lines = text.splitlines()
    assert lines[0] == "| method | gold | chapter |"
    assert lines[2] == "| PPO | 3.30 ± 0.1 | 05 |"
    assert lines[3] == "| base | – | 02 |"
    assert lines[-1] == "What it shows"


def test_what_cannot_be_sorted_is_refused():
    with pytest.raises(ValueError, match="rows of 3 places each, got none"):
        sortable_table(HEADINGS, [], caption="")
    with pytest.raises(ValueError, match=r"rows of 3 places each, got \[2, 3\]"):
        sortable_table(HEADINGS, [ROWS[0], ROWS[1][:2]], caption="")
    with pytest.raises(ValueError, match="the column 'gold' holds numbers and texts"):
        sortable_table(HEADINGS, [ROWS[0], [shown("x"), shown("much"), shown("01")]], caption="")


PAGE = """
const body = JSON.parse(process.argv[1]), kinds = JSON.parse(process.argv[2]), run = process.argv[3];
const heads = kinds.map(kind => ({dataset: {kind}, attributes: {},
  getAttribute(name) { return this.attributes[name] || null },
  setAttribute(name, value) { this.attributes[name] = value },
  removeAttribute(name) { delete this.attributes[name] }}));
const rows = body.map(keys => ({cells: keys.map(key => ({dataset: {key}}))}));
const tbody = {rows, appendChild(row) { rows.splice(rows.indexOf(row), 1); rows.push(row) }};
heads.forEach(head => { head.parentNode = {cells: heads}; head.closest = () => ({tBodies: [tbody]}) });
const click = place => { new Function(run).call({closest: () => heads[place]});
  const sorts = heads.map(head => head.attributes['aria-sort'] || '');
  return {order: rows.map(row => row.cells[0].dataset.key), sorts} };
console.log(JSON.stringify(JSON.parse(process.argv[4]).map(click)));
"""


@pytest.mark.skipif(
    shutil.which("node") is None, reason="runs the button's handler, where there is a JavaScript engine"
)
def test_a_click_sorts_and_another_turns_round():
    body = sortable_table(HEADINGS, ROWS, caption="").body
    handler = html.unescape(re.search(r'onclick="([^"]*)"', body).group(1))
    keys = [["" if one.key is None else str(one.key) for one in row] for row in ROWS]
    kinds = ["text", "number", "text"]
    arguments = [json.dumps(keys), json.dumps(kinds), handler, json.dumps([1, 1, 0, 0, 2])]
    told = subprocess.run(["node", "-e", PAGE, *arguments], capture_output=True, text=True, check=True).stdout
    largest, smallest, first, last, chapter = json.loads(told)
    assert largest == {"order": ["DPO", "PPO", "a <b>", "base"], "sorts": ["", "descending", ""]}
    assert smallest == {"order": ["a <b>", "PPO", "DPO", "base"], "sorts": ["", "ascending", ""]}
    assert first == {"order": ["a <b>", "base", "DPO", "PPO"], "sorts": ["ascending", "", ""]}
    assert last["order"] == ["PPO", "DPO", "base", "a <b>"]
    assert chapter["order"] == ["base", "PPO", "DPO", "a <b>"]
