"""The ladder of chapter 08, whose rungs fall for planted bugs, and the room's claims and quiz."""

from types import SimpleNamespace

import pytest
import torch

import rlhf_mini.methods.hir as hir_module
from rlhf_mini.chapters.hindsight import arithmetic, claims, family, ladder, measures, quiz, sum_runs
from rlhf_mini.chapters.hindsight.sum_runs import opposite
from rlhf_mini.data.tokenizer import encode_prompt, encode_text
from rlhf_mini.losses import two_way_contrast_loss
from rlhf_mini.methods.hir import Hindsight
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import quiz as quiz_picture
from rlhf_mini.worlds.sums import RIGHT, WRONG
from tests.chapters.stand_ins import few_sums
from tests.chapters.verdicts import hindsight as verdicts


@pytest.fixture
def few(monkeypatch):
    few_sums(monkeypatch)


# ------------------------------------------------------------------------------------------- exact, script


def test_the_exact_rung_holds_and_falls(built, monkeypatch):
    held, seen = ladder.exact(built)
    assert held, seen

    def unsmoothed(own, other, *, label_smoothing):
        return two_way_contrast_loss(own, other, label_smoothing=0.0)

    monkeypatch.setattr(ladder, "two_way_contrast_loss", unsmoothed)
    assert not ladder.exact(built)[0]


def test_the_script_rung_holds_and_falls(built, few, monkeypatch):
    held, seen = ladder.script(built)
    assert held, seen

    def always_right(asked, query, output):
        return [Hindsight(query, RIGHT, output, WRONG)]

    monkeypatch.setattr(sum_runs, "by_verdict", always_right)
    assert not ladder.script(built)[0]


# ------------------------------------------------------------------------------------------------- samples


def solutions_of(share):
    """The prompts' own solutions to this share of them, and none to the rest."""
    from rlhf_mini.worlds import sums

    def answers(policy, tokenizer, prompts, **settings):
        right = round(share * len(prompts))
        solved = [sums.read_sum(prompt).solution for prompt in prompts]
        return [text if place < right else "=0" for place, text in enumerate(solved)]

    return answers


def test_the_samples_rung_compares_the_script_with_the_judge(built, few, monkeypatch):
    monkeypatch.setattr(ladder, "answer", solutions_of(0.5))
    monkeypatch.setattr(arithmetic, "answer", solutions_of(0.5))
    held, seen = ladder.samples(built)
    assert held, seen
    assert seen == "50% of the samples, 50% of held-out problems"

    def others(policy, tokenizer, prompts, **settings):
        """The chapter's bug: right solutions, one place further on."""
        texts = solutions_of(0.5)(policy, tokenizer, prompts)
        return [*texts[1:], texts[0]]

    monkeypatch.setattr(ladder, "answer", others)
    assert not ladder.samples(built)[0]


# ---------------------------------------------------------------------------------------------------- rows


def test_the_rows_rung_holds(built):
    held, seen = ladder.rows(built)
    assert held, seen


@pytest.mark.parametrize("bug", ["asked", "prompt learned"])
def test_the_rows_rung_falls(built, monkeypatch, bug):
    def packed(tokenizer, rows, *, ask):
        (row,) = rows
        name = row.instead if bug == "asked" else row.fulfilled
        prompt = encode_prompt(tokenizer, ask(name, row.query))
        output = [*encode_text(tokenizer, row.output), tokenizer.eos_token_id]
        response = [bug == "prompt learned"] * len(prompt) + [True] * len(output)
        return SimpleNamespace(tokens=torch.tensor([prompt + output]), response=torch.tensor([response]))

    monkeypatch.setattr(ladder, "pack_hindsight", packed)
    assert not ladder.rows(built)[0]


# ------------------------------------------------------------------------------------------------ one pair


def test_the_one_pair_rung_holds_and_falls_where_instructions_are_exchanged(built, few, monkeypatch):
    held, seen = ladder.one_pair(built)
    assert held, seen

    def exchanged(logp, own, *, label_smoothing):
        return hir_module_loss(logp.flip(1), own, label_smoothing=label_smoothing)

    hir_module_loss = hir_module.instruction_contrast_loss
    monkeypatch.setattr(hir_module, "instruction_contrast_loss", exchanged)
    assert not ladder.one_pair(built)[0]


# ------------------------------------------------------------------------------------------ known end, grid


class Told(Pipeline):
    """A pipeline whose measurements are given."""

    def __init__(self, **numbers):
        self.numbers = numbers

    def measured(self, experiment, **settings):
        return self.numbers[experiment.__name__]


def test_the_known_end_and_the_grid_rungs_read_their_measurements():
    good = {"gap_on_the_way": 0.0, "at_first": 2.0, "to_filtered": 0.05}
    curves = {"reached 0": [0.2, 0.4], "reached 4": [0.5, 0.7]}
    pipeline = Told(same_end=good, curves=curves)
    assert ladder.known_end(pipeline)[0]
    assert ladder.grid(pipeline)[0]
    pipeline.numbers = {
        "same_end": {**good, "gap_on_the_way": 0.1},
        "curves": {**curves, "reached 4": [0.3, 0.3]},
    }
    assert not ladder.known_end(pipeline)[0]
    assert not ladder.grid(pipeline)[0]


def test_there_are_nine_rungs(built):
    names = [rung.name for rung in ladder.rungs(built)]
    assert len(names) == len(set(names)) == 9


# ---------------------------------------------------------------------------------------- claims and quiz

BY_NAME = {claim.name: claim for claim in claims.CLAIMS}


def test_every_claim_has_a_name_of_its_own_a_sentence_and_examples():
    assert len(BY_NAME) == len(claims.CLAIMS)
    assert all(claim.sentence.endswith(".") for claim in claims.CLAIMS)
    assert verdicts.GOOD.keys() == set(BY_NAME) == {name for name, _ in verdicts.SPOILED}


@pytest.mark.parametrize("name", BY_NAME)
def test_numbers_that_show_it_are_seen(name):
    assert BY_NAME[name].holds(verdicts.GOOD[name])


@pytest.mark.parametrize(("name", "change"), verdicts.SPOILED)
def test_numbers_that_do_not_show_it_spoil_the_claim(name, change):
    assert not BY_NAME[name].holds({**verdicts.GOOD[name], **change})


class Runs:
    """Runs whose every number is their place in the table."""

    def __init__(self, among):
        self.among = among

    def run(self, name, *, among):
        place = [one.name for one in among].index(name)
        return SimpleNamespace(
            measured=lambda pipeline: dict.fromkeys(
                (*measures.SUMS_TOLD, *measures.STORIES_TOLD), float(place)
            )
        )


def test_measures_name_what_they_measure(monkeypatch):
    monkeypatch.setattr(measures.family, "run", Runs(None).run)
    tables = [[one.name for one in among] for among in family.EXPERIMENTS.values()]
    for measure in (measures.sums, measures.often, measures.stories, measures.contrasts, measures.smoothing):
        found = measure(Told())
        lead = found.pop("lead rarely", None)
        assert found
        for name, value in found.items():
            run = name.split(" ", 1)[1]
            assert any(run in names and names.index(run) == value for names in tables)
        if lead is not None:
            assert lead == tables[0].index(family.OURS) - tables[0].index(family.FILTERED)
    assert {"rarely right start", "right start", "gold SFT"} <= set(measures.verdicts(Told()))


def test_the_grid_s_measure_is_means_and_ends():
    curves = {"reached 0": [0.2, 0.4], "known 0": 0.5, "one goal 0": 0.1}
    found = measures.grid(Told(curves=curves))
    assert found == {"reached 0": pytest.approx(0.3), "known 0": 0.5, "one goal 0": 0.1}


def test_a_quiz_is_no_giveaway():
    assert len({question.right for question in quiz.QUIZ}) >= 2
    assert len(quiz.QUIZ) == 5
    assert quiz_picture(quiz.QUIZ).text.count("\n") >= 5 * 3


def test_an_output_does_not_fulfil_the_opposite():
    assert (opposite(RIGHT, RIGHT), opposite(RIGHT, WRONG)) == (WRONG, RIGHT)
