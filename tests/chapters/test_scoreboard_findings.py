"""Chapter 14's findings: numbers of rows by name, of the right table and the right method."""

import pytest

from rlhf_mini.chapters.scoreboard import claims, command, entries, findings
from rlhf_mini.pipeline import Pipeline


class Told(command.Cell):
    """A cell whose numbers are made up: gold is the length of its name, one less where it is colder."""

    def measured(self, pipeline):
        gold = float(len(self.name)) - (self.experiment == "colder")
        return {"gold": gold, "kl_k3": 2 * gold, "golds": [gold, 3.0, 1.0]}


@pytest.fixture
def made_up(monkeypatch):
    names = ("SFT", "PPO", "cDPO")
    rows = [Told(table, name) for table in ("methods", "colder") for name in names]
    monkeypatch.setattr(findings, "cells", lambda: rows)


@pytest.fixture
def pipeline(tmp_path):
    """Nothing is ever built in it."""
    return Pipeline("quick", cache=tmp_path)


@pytest.mark.usefixtures("made_up")
def test_metrics_of_rows_by_name(pipeline):
    found = findings.told(pipeline, of={"gold": ("SFT", "cDPO"), "kl_k3": ("PPO",)})
    assert found == {"gold SFT": 3.0, "gold cDPO": 4.0, "kl_k3 PPO": 6.0}
    assert findings.told(pipeline, of={"gold": ("SFT",)}, experiment="colder") == {"gold SFT": 2.0}
    with pytest.raises(ValueError, match="no cell is called 'PPG' in 'methods'"):
        findings.told(pipeline, of={"gold": ("PPG",)})


@pytest.mark.usefixtures("made_up")
def test_warm_and_cold(pipeline):
    assert findings.colder(pipeline, names=("PPO",)) == {"warm PPO": 3.0, "cold PPO": 2.0}


@pytest.mark.usefixtures("made_up")
def test_wins_are_of_the_same_requests_and_ties_count_half(pipeline):
    """Golds (4, 3, 1) against (3, 3, 1): one win and two ties of three."""
    assert findings.wins(pipeline, pairs=[("cDPO", "SFT")]) == {"cDPO against SFT": pytest.approx(2 / 3)}


def test_every_row_that_a_claim_reads_is_on_the_board(pipeline, monkeypatch):
    """A row that does not exist would be refused before anything is trained."""
    asked = []

    class Counting(command.Cell):
        def measured(self, pipeline):
            asked.append((self.experiment, self.name))
            numbers = ("gold", "proxy", "kl_k3", "kl_bound", "distinct_2", "story_nats", "unkind_declined")
            return {**dict.fromkeys(numbers, 1.0), "golds": [1.0, 2.0]}

    rows = [Counting(cell.experiment, cell.name, cell.entry, cell.point) for cell in command.cells()]
    monkeypatch.setattr(findings, "cells", lambda: rows)
    for claim in claims.CLAIMS:
        assert isinstance(claim.holds(claim.measure(pipeline)), bool), (
            claim.name
        )  # it has all that it asks for
    assert {name for _, name in asked} <= {one.name for one in entries.ENTRIES}
    assert {table for table, _ in asked} == {"methods", "colder"}
