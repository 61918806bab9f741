"""Chapter 14's guide: its sentences lean on records that bear them out; every way through the tree ends."""

import re

import pytest

from rlhf_mini.chapters.scoreboard import (
    evidence,
    guide,
    judging_advice,
    scaling_advice,
    symptoms,
    training_advice,
)
from rlhf_mini.chapters.scoreboard.evidence import SHORT, Computed, Mean, Run, Shown, Symptom, told
from rlhf_mini.evaluation.records import read_records
from rlhf_mini.profiles import QUICK

SAID = [*guide.SYMPTOMS, *guide.ADVICE]
EACH = pytest.mark.parametrize("one", SAID, ids=lambda one: getattr(one, "name", "") or one.do)
TYPED = re.compile(r"\d+\.\d+|\d ?%")


# ---------------------------------------------------------------------------------------------- numbers


def test_a_number_is_the_mean_over_the_seeds_on_record():
    records = read_records("chapter_05", experiment="details", method="× 3", profile="quick")
    golds = [record.metrics["gold"] for record in records]
    number = Mean(Run("05", "details", "× 3"), "gold")
    assert number.value() == pytest.approx(sum(golds) / len(golds))
    assert number.text() == f"{sum(golds) / len(golds):.2f}"
    assert sorted(number.by_seed()) == sorted(record.seed for record in records)


def test_of_a_curve_it_takes_what_it_is_asked_for():
    records = read_records("chapter_05", experiment="curves", method="β = 0", profile="quick")
    curves = [record.metrics["gold"] for record in records]
    table = evidence.table_of("05", "curves")
    for of, expected in (
        ("last", [curve[-1] for curve in curves]),
        ("first", [curve[0] for curve in curves]),
        ("highest", [max(curve) for curve in curves]),
        ("mean", [sum(curve) / len(curve) for curve in curves]),
    ):
        assert table("β = 0", "gold", of=of).value() == pytest.approx(sum(expected) / len(expected))


def test_numbers_are_told_as_readers_read_them():
    assert told(-0.126, decimals=2) == "−0.13"
    assert told(-0.001, decimals=2) == "0.00"
    assert told(0.126, decimals=0, percent=True) == "13%"
    assert told(2048, decimals=0) == "2,048"
    assert told(4.6e-8, decimals=SHORT) == "5·10⁻⁸"
    assert Computed(lambda: 3).text() == "3.00"


def test_what_is_not_on_record_is_refused():
    with pytest.raises(ValueError, match="no record of '× 4' in 'details'"):
        Run("05", "details", "× 4").records()
    with pytest.raises(ValueError, match="has no 'golds'"):
        Mean(Run("05", "details", "× 3"), "golds").value()
    shown = Shown(says="", numbers={}, holds=bool)
    with pytest.raises(ValueError, match="unknown chapter '99'"):
        Symptom(name="x", shows="", causes=("y",), do="", chapter="99", record=shown)
    with pytest.raises(ValueError, match="or no cause"):
        Symptom(name="x", shows="", causes=(), do="", chapter="05", record=shown)
    with pytest.raises(ValueError, match="unknown chapter"):
        evidence.Advice(topic="x", do="y", chapter="98", record=shown)
    with pytest.raises(ValueError, match="no symptom is called"):
        symptoms.named("hiccups")
    with pytest.raises(ValueError, match="no advice on 'weather'"):
        guide.advice_table("weather")


def test_a_sentence_fills_its_places_and_asks_its_numbers():
    shown = Shown(
        says="{a} of {b}",
        numbers={"a": Computed(lambda: 0.5, 0, True), "b": Mean(Run("05", "details", "ours"), "gold")},
        holds=lambda n: n["a"] < n["b"],
        runs=(Run("05", "details", "× 3"), Run("05", "details", "ours")),
    )
    assert re.fullmatch(r"50% of \d\.\d\d", shown.text())
    assert shown.still_holds()
    assert [run.method for run in shown.on_record()] == ["ours", "× 3"]


# ------------------------------------------------------------------------------------- what is said of runs


@EACH
def test_every_run_that_is_leaned_on_is_on_record_with_seeds(one):
    runs = one.record.on_record()
    computed = [number for number in one.record.numbers.values() if isinstance(number, Computed)]
    assert runs or computed
    for run in runs:
        assert len({record.seed for record in run.records()}) >= 3, run
    assert one.chapter in {"14", *(run.chapter for run in runs)}


@EACH
def test_its_numbers_still_bear_it_out(one):
    assert one.record.still_holds(), one.record.text()


@EACH
def test_no_number_of_a_measurement_is_typed(one):
    """A sentence may name settings, such as β = 0.05, but every place is filled and none is left over."""
    assert set(re.findall(r"{(\w+)}", one.record.says)) <= set(one.record.numbers)
    settings = re.sub(
        r"β = [\d.]+|[Ss]tarted at 0\.05 and at 0\.5|at 0\.01|at 0\.05|at 0\.2|to 0\.7", "", one.record.says
    )
    assert not TYPED.search(settings), settings
    assert not TYPED.search(one.do.replace("100%", ""))


@EACH
def test_the_verdict_hangs_on_the_numbers(one):
    """Of numbers that are all the same, that rise, and that fall, some do not bear it out."""
    names = [*one.record.numbers]
    rising = {name: 10.0**place for place, name in enumerate(names, start=-2)}
    falling = {name: 10.0**-place for place, name in enumerate(names, start=-2)}
    made_up = (dict.fromkeys(names, 0.7), rising, falling)
    assert not all(one.record.holds(numbers) for numbers in made_up)


def test_what_the_guide_covers():
    assert len({one.name for one in guide.SYMPTOMS}) == len(guide.SYMPTOMS) >= 12
    assert set(guide.TOPICS) == {
        "what to watch", "learning rates", "batch sizes", "KL budgets", "checkpoints", "reward models",
        "labels", "comparing",
    }  # fmt: skip
    assert len({one.do for one in guide.ADVICE}) == len(guide.ADVICE)
    assert {one.chapter for one in SAID} >= {"00", "02", "03", "04", "05", "06", "07", "09", "10", "12", "14"}
    parts = (training_advice.TRAINING_ADVICE, judging_advice.JUDGING_ADVICE, scaling_advice.SCALING_ADVICE)
    assert sum(parts, ()) == guide.ADVICE


# ---------------------------------------------------------------------------------------- what is computed


def test_the_best_of_many_by_hand():
    """Seed 0 chooses b (lead 2, elsewhere −1), seed 1 chooses c (lead 3, elsewhere 1)."""
    golds = {"a": {0: 1.0, 1: 1.0}, "b": {0: 3.0, 1: 0.0}, "c": {0: 2.0, 1: 4.0}}
    assert judging_advice.best_of_many(golds, ours="a") == pytest.approx((2.5, 0.0))


def test_the_settings_are_those_asked_at_one_temperature():
    golds = judging_advice.golds_of_details()
    assert "ours" in golds
    assert not [name for name in golds if "0.7" in name]
    assert len(judging_advice.golds_of_details(without=())) == len(golds) + 3


def test_luck_and_spread_by_hand():
    rows = {
        (record.method, record.seed): record.metrics["gold"]
        for record in read_records("chapter_05", experiment="details", profile="quick")
    }
    off = [
        abs(rows[f"learning rate × {factor}", seed] - rows["ours", seed])
        for factor in ("0.9999", "1.0001")
        for seed in (0, 1, 2)
    ]
    assert judging_advice.largest_luck() == pytest.approx(max(off))
    records = read_records("chapter_00", experiment="scoreboard", method="PPO", profile="quick")
    golds = sorted(record.metrics["gold"] for record in records)
    assert judging_advice.spread_of_seeds() == pytest.approx(golds[-1] - golds[0])


def test_the_width_of_the_bag_by_hand():
    """σ² = 0.36 and s² = 1, 32 prompts and 16 answers: √(1.36/512 / (0.36/32 + 1/512))."""
    assert judging_advice.width_of_the_bag() == pytest.approx((1.36 / 512 / (0.36 / 32 + 1 / 512)) ** 0.5)


def test_settings_are_read_from_the_profile():
    (rates,) = (one for one in guide.ADVICE if "quick profile" in one.do)
    assert rates.record.numbers["ppo"].value() == QUICK.ppo.optimizer.learning_rate
    assert rates.record.numbers["reward"].value() == QUICK.reward_model.optimizer.learning_rate
    assert f"PPO {QUICK.ppo.optimizer.learning_rate:.3f}" in rates.record.text()


# ------------------------------------------------------------------------------------------------- the tree


def test_every_node_is_reached_once_and_every_way_ends():
    led_to = [to for node in guide.TREE.values() for to in (node.yes, node.no) if isinstance(to, str)]
    assert sorted(led_to) == sorted(set(guide.TREE) - {guide.ROOT})
    for name in guide.TREE:
        for last in (True, False):
            way, end = guide.walk(lambda at, name=name, last=last: last if at == name else _towards(name, at))
            assert name in way
            assert end in guide.ends()
    assert len([*guide.ends()]) == len(guide.TREE) + 1


def _towards(target, at):
    """Yes, if the target lies behind a yes."""

    def behind(to):
        if not isinstance(to, str):
            return False
        return to == target or behind(guide.TREE[to].yes) or behind(guide.TREE[to].no)

    return behind(guide.TREE[at].yes)


WAYS = {
    "over-optimised": "judge exact ratio rises far fell",
    "unstable": "judge exact ratio rises far",
    "another distribution": "judge exact",
    "loss at log 2": "judge exact ratio pairs",
    "groups without spread": "judge exact ratio",
    "not learning": "judge exact ratio spread critic",
    "answers without an end": "judge exact ratio rises",
    "everything is declined": "judge exact ratio rises ends declines",
    "a gap in the verifier": "judge exact ratio rises ends",
}


@pytest.mark.parametrize("name", WAYS)
def test_a_symptom_is_found_on_its_way(name):
    """By the questions that are answered with yes."""
    yes = WAYS[name].split()
    _, end = guide.walk(lambda at: at in yes)
    assert end.symptom == name


def test_who_says_yes_to_all_good_questions_may_report():
    way, end = guide.walk(lambda at: True)
    assert way == ["judge", "exact", "ratio", "rises", "gold", "lost", "seeds", "matched"]
    assert end.do.startswith("Report it")
    with pytest.raises(ValueError, match="symptom of chapter 05"):
        guide.End(do="x", chapter="07", symptom="unstable")
    with pytest.raises(ValueError, match="no symptom"):
        guide.End(do="x", chapter="07", symptom="hiccups")


# -------------------------------------------------------------------------------------------- what is shown


def test_the_table_of_symptoms_shows_each_with_its_numbers_and_runs():
    picture = guide.symptoms_table()
    rows = [line for line in picture.text.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + len(guide.SYMPTOMS)
    line = next(row for row in rows if row.startswith("| unstable"))
    assert symptoms.named("unstable").record.text() in line
    assert "[chapter 05, details: × 3; 4 epochs; 4 epochs, ratio not clipped; ours]" in line
    assert picture.body.count("<tr>") == 1 + len(guide.SYMPTOMS)
    assert picture.body.count("white-space:normal") == 5 * (1 + len(guide.SYMPTOMS))  # sentences wrap


@pytest.mark.parametrize("topic", guide.TOPICS)
def test_advice_is_shown_topic_by_topic(topic):
    picture = guide.advice_table(topic)
    chosen = [one for one in guide.ADVICE if one.topic == topic]
    assert picture.body.count("<tr>") == 1 + len(chosen) >= 4
    for one in chosen:
        assert one.do in picture.text.replace("\\|", "|")
        assert one.record.text() in picture.text.replace("\\|", "|")


def test_where_nothing_is_on_record_it_says_that_it_was_computed():
    text = guide.advice_table("reward models").text
    (line,) = (row for row in text.splitlines() if row.startswith("| Cross-validate"))
    assert line.endswith("| chapter 14, computed here |")


def test_the_tree_is_a_numbered_list_with_a_link_for_every_step():
    picture = guide.tree_picture()
    assert picture.body.count('<li id="rm-tree-') == len(guide.TREE)
    links = re.findall(r'href="#rm-tree-(\d+)"', picture.body)
    assert sorted(map(int, links)) == [*range(2, len(guide.TREE) + 1)]
    assert picture.text.startswith(f"1. {guide.TREE[guide.ROOT].ask}\n   yes → question 2\n   no → Get one")
    for end in guide.ends():
        assert f"→ {end.do} (chapter {end.chapter}" in picture.text
