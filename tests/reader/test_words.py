"""Source, samples, tables, provenance and the first cell: what they say, and that any text is safe."""

import functools
import html
import inspect
import io
import re
import tokenize
from xml.etree import ElementTree

import pytest
import torch

from rlhf_mini.evaluation.record_tables import records_table
from rlhf_mini.evaluation.records import Record
from rlhf_mini.reader import (
    Sample,
    colab,
    compare_samples,
    first_cell,
    picture,
    provenance,
    records,
    repository_address,
    samples_table,
    setup,
    show_source,
)
from rlhf_mini.reader.picture import check_alt


def _code_text(body):
    return html.unescape(re.sub(r"<[^>]+>", "", re.search(r"<pre.*?</pre>", body, flags=re.DOTALL)[0]))


@pytest.mark.parametrize("shown", [check_alt, picture, Sample, colab])
def test_source_shown_is_the_source(shown):
    output = show_source(shown)
    source = inspect.getsource(shown).rstrip()
    assert _code_text(output.body) == source
    assert output.text.endswith(source)
    list(tokenize.generate_tokens(io.StringIO(output.text).readline))  # the fallback is Python
    ElementTree.fromstring(f"<div>{output.body}</div>".replace("<details open>", "<details>"))


def test_source_is_headed_by_its_home_and_folds_when_long():
    assert show_source(check_alt).text.startswith("# rlhf_mini/reader/picture.py · check_alt\n")
    assert "<details" not in show_source(check_alt).body
    assert "<details open>" in show_source(colab).body
    assert show_source(check_alt, picture).body.count("<pre") == 2
    assert show_source(Sample).body.count('class="rm-k"') > 0


def test_source_refuses_what_has_none():
    for shown in (len, functools.partial(print)):
        with pytest.raises(ValueError, match="source"):
            show_source(shown)
    with pytest.raises(ValueError, match="needs a function"):
        show_source()


NASTY = "<script>alert('x')</script> & \"so\"\n  two  spaces"


def test_samples_are_shown_as_they_are():
    sample = Sample(text=NASTY, gold=-1.5, proxy=5.25, components={"hero": 1, "padding": -0.5, "mood": 0})
    output = compare_samples(
        NASTY, {"PPO <1>": sample, "SFT": Sample(text="Fine.", role="reference")}, caption="c"
    )
    root = ElementTree.fromstring(output.body)
    assert NASTY in list(root.itertext())
    assert "<script" not in output.body
    chips = ["".join(item.itertext()) for item in root.iter("span")]
    assert chips == ["gold −1.50", "proxy 5.25", "hero +1", "padding −0.5", "mood 0"]
    assert NASTY in output.text
    assert "gold -1.50 · proxy 5.25 · hero +1 · padding −0.5 · mood 0" in output.text


def test_components_are_told_apart_by_sign_and_colour():
    body = compare_samples(
        "p", {"a": Sample(text="t", components={"up": 2.0, "down": -2.0, "flat": 0.001})}
    ).body
    roles = re.findall(r'<span style="--rm-role:var\(--rm-(\w+)', body)
    assert roles == ["data", "loss", "reference"]


def test_many_prompts_make_many_rows():
    output = samples_table(
        [("one", {"a": Sample(text="1")}), ("two", {"a": Sample(text="2"), "b": Sample(text="3")})]
    )
    assert output.body.count("rm-prompt") == 2
    assert output.body.count('class="rm-card"') == 3
    for bad in ([], [("one", {})]):
        with pytest.raises(ValueError, match="at least one sample"):
            samples_table(bad)
    with pytest.raises(ValueError, match="unknown role"):
        Sample(text="t", role="teacher")


def test_record_tables_wear_the_style():
    record = Record(
        chapter="00", experiment="e", method="ppo", seed=0, profile="quick", device="CPU", threads=1,
        seconds=1.0, version="0", metrics={"gold": 1.25},
    )  # fmt: skip
    table = records_table([record], metrics={"gold": "gold"})
    assert "<td>1.25</td>" in records(table).html()
    assert records(table).text == table.to_markdown()


def test_provenance_is_one_line_with_everything():
    line = provenance(profile="quick", seconds=75.4, device=torch.device("cpu"))
    assert "\n" not in line
    for part in ("profile quick", "cpu", "thread", "1 min 15 s", "rlhf-mini ", torch.__version__):
        assert part in line
    assert "3.2 s" in provenance(profile="full", seconds=3.21)
    for bad in ({"profile": "", "seconds": 1.0}, {"profile": "quick", "seconds": -1.0}):
        with pytest.raises(ValueError, match="profile's name"):
            provenance(**bad)


def test_first_cell_is_short_python_with_the_address_once():
    cell = first_cell("https://example.org/rlhf")
    compile(cell, "cell", "exec")
    assert len(cell.splitlines()) <= 12
    assert cell.count("https://") == 1
    assert "RLHF_MINI_INSTALL_URL" in cell


def test_first_cell_does_nothing_where_the_library_is(capsys, monkeypatch):
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("pip was called"))
    exec(first_cell("https://example.org/rlhf"), {})
    assert capsys.readouterr().out.startswith("rlhf-mini ")


@pytest.mark.parametrize("override", [None, "git+file:///elsewhere"])
def test_first_cell_installs_one_thing_where_it_is_absent(monkeypatch, override):
    calls = []
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("subprocess.run", lambda command, check: calls.append((command[1:], check)))
    monkeypatch.delenv("RLHF_MINI_INSTALL_URL", raising=False)
    if override:
        monkeypatch.setenv("RLHF_MINI_INSTALL_URL", override)
    exec(first_cell("https://example.org/rlhf"), {})
    address = override or "git+https://example.org/rlhf"
    assert calls == [(["-m", "pip", "install", "--quiet", address], True)]


def test_address_comes_from_the_metadata(monkeypatch):
    class Metadata:
        def __init__(self, urls):
            self.urls = urls

        def get_all(self, _):
            return self.urls

    monkeypatch.setattr(
        colab, "metadata", lambda _: Metadata(["Homepage, https://a", "Repository, https://b/c/"])
    )
    assert repository_address() == "https://b/c"
    monkeypatch.setattr(colab, "metadata", lambda _: Metadata(["Homepage, https://a"]))
    with pytest.raises(ValueError, match="no Repository"):
        repository_address()

    def absent(name):
        raise colab.PackageNotFoundError(name)

    monkeypatch.setattr(colab, "metadata", absent)
    with pytest.raises(ValueError, match="not installed"):
        repository_address()


def test_setup_prints_one_line(capsys):
    setup()
    assert capsys.readouterr().out.count("\n") == 1
