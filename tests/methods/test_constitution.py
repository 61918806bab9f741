"""Critique and revision: what each request holds, round after round, and what is kept of it."""

import random

import pytest
import torch

from rlhf_mini.data.chat import answer
from rlhf_mini.data.revising import CHAT_REVISIONS, STORY_REVISIONS, RevisionTemplate
from rlhf_mini.methods.constitution import (
    RevisionConfig,
    all_revisions,
    critique_and_revise,
    last_revisions,
    writing,
)
from rlhf_mini.methods.rejection_sampling import Chosen, pooled
from rlhf_mini.worlds.stories import gold_scores, read_story
from rlhf_mini.worlds.stories.critiques import critique, revise
from rlhf_mini.worlds.stories.principles import CONSTITUTION
from rlhf_mini.worlds.stories.red_team import draw_red_team
from tests.methods.toy_words import word_tokenizer

TEMPLATE = RevisionTemplate(
    critique="C|{principle}|{prompt}|{answer}", revision="R|{principle}|{prompt}|{answer}|{critique}"
)


def revised(write, prompts, answers, **changes):
    settings = {"template": TEMPLATE, "principles": ("one", "two"), "revisions": 2, "rng": random.Random(0)}
    return critique_and_revise(write, prompts, answers, **(settings | changes))


def test_every_round_criticises_and_rewrites_what_the_round_before_wrote():
    seen = []

    def write(requests):
        seen.append(requests)
        return [f"{'critique' if text[0] == 'C' else 'answer'} {len(seen)}" for text in requests]

    (one,) = revised(write, ["p"], ["first"], principles=("one",))
    assert seen == [
        ["C|one|p|first"],
        ["R|one|p|first|critique 1"],
        ["C|one|p|answer 2"],
        ["R|one|p|answer 2|critique 3"],
    ]
    assert one.answers == ("first", "answer 2", "answer 4")
    assert [(done.principle, done.critique) for done in one.rounds] == [
        ("one", "critique 1"),
        ("one", "critique 3"),
    ]


def test_one_revision_is_enough():
    (one,) = revised(lambda requests: [text[0] for text in requests], ["p"], ["a"], revisions=1)
    assert (one.answers, [done.critique for done in one.rounds]) == (("a", "R"), ["C"])


def test_principles_are_drawn_anew_for_each_answer_and_round():
    many = revised(lambda requests: ["x"] * len(requests), ["p"] * 50, ["a"] * 50)
    drawn = [[done.principle for done in one.rounds] for one in many]
    assert {tuple(pair) for pair in drawn} == {("one", "one"), ("one", "two"), ("two", "one"), ("two", "two")}
    again = revised(lambda requests: ["x"] * len(requests), ["p"] * 50, ["a"] * 50)
    assert again == many


def test_rows_keep_their_own_answers():
    def write(requests):
        return [text.split("|")[3] + "+" if text[0] == "R" else "c" for text in requests]

    many = revised(write, ["p", "q"], ["a", "b"])
    assert [(one.prompt, one.answers) for one in many] == [
        ("p", ("a", "a+", "a++")),
        ("q", ("b", "b+", "b++")),
    ]
    assert last_revisions(many) == Chosen(["p", "q"], ["a++", "b++"])
    assert all_revisions(many) == Chosen(["p", "p", "q", "q"], ["a+", "a++", "b+", "b++"])


def test_an_empty_revision_leaves_the_answer():
    (one,) = revised(lambda requests: [" "] * len(requests), ["p"], ["a"])
    assert one.answers == ("a", "a", "a")


def test_what_cannot_be_revised_is_refused():
    def echo(requests):
        return requests

    with pytest.raises(ValueError, match="at least one principle and one revision, got 0 and 2"):
        revised(echo, ["p"], ["a"], principles=())
    with pytest.raises(ValueError, match="got 2 and 0"):
        revised(echo, ["p"], ["a"], revisions=0)
    with pytest.raises(ValueError, match="1 prompts but 2 answers"):
        revised(echo, ["p"], ["a", "b"])
    with pytest.raises(ValueError, match="each of 1 requests; it gave 0"):
        revised(lambda requests: [], ["p"], ["a"])
    with pytest.raises(ValueError, match="revisions and max_new_tokens must be at least 1"):
        RevisionConfig(revisions=0, max_new_tokens=3)
    with pytest.raises(ValueError, match="temperature must be 0 or above"):
        RevisionConfig(revisions=1, max_new_tokens=3, temperature=-0.5)
    with pytest.raises(ValueError, match="temperature must be 0 or above and finite, got inf"):
        RevisionConfig(revisions=1, max_new_tokens=3, temperature=float("inf"))


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0])
def test_a_model_writes_the_replies(toy_policy, temperature):
    config = RevisionConfig(revisions=1, max_new_tokens=3, temperature=temperature)
    tokenizer, words = word_tokenizer(), ["a", "b", "c"] * 8
    generator = torch.Generator().manual_seed(3)
    replies = writing(toy_policy, tokenizer, config=config, generator=generator)(words)
    generator = torch.Generator().manual_seed(3)
    expected = answer(
        toy_policy, tokenizer, words, max_new_tokens=3, generator=generator, temperature=temperature
    )
    assert replies == expected
    assert RevisionConfig(revisions=1, max_new_tokens=3).temperature == 1.0


@pytest.mark.parametrize("template", [STORY_REVISIONS, CHAT_REVISIONS])
def test_templates_hold_all_that_is_needed(template):
    asked = template.ask_revision("be kind", "who?", "a {fox}", "rude")
    assert all(text in asked for text in ("be kind", "who?", "a {fox}", "rude"))
    asked = template.ask_critique("be kind", "who?", "a {fox}")
    assert all(text in asked for text in ("be kind", "who?", "a {fox}"))


def test_templates_need_their_fields():
    with pytest.raises(ValueError, match=r"fields \['answer', 'principle', 'prompt'\]"):
        RevisionTemplate(critique="{answer}", revision=TEMPLATE.revision)
    with pytest.raises(ValueError, match=r"'critique', 'principle', 'prompt'\]"):
        RevisionTemplate(critique=TEMPLATE.critique, revision=TEMPLATE.critique)


def test_a_perfect_helper_makes_red_team_answers_harmless():
    """With the scripted critic and reviser, unkind stories become declines, and gold rises round by round."""
    from rlhf_mini.worlds.stories.demonstrators import HASTY, demonstrate

    rng = random.Random(4)
    by_wording = {wording: p for p in CONSTITUTION for wording in p.wordings}
    requests = draw_red_team(60, seed=4)
    prompts = [request.text for request in requests]
    answers = [demonstrate(request, HASTY, rng) for request in requests]

    def write(asked):
        replies = []
        for text in asked:
            kind, principle, prompt, told = text.split("|")[:4]
            rule = by_wording[principle]
            replies.append(critique(rule, prompt, told) if kind == "C" else revise(rule, prompt, told, rng))
        return replies

    many = revised(write, prompts, answers, principles=tuple(by_wording), revisions=6)
    golds = [sum(gold_scores(prompts, [one.answers[k] for one in many])) / 60 for k in range(7)]
    assert golds == sorted(golds)
    unkind = [sum(read_story(one.answers[k]).unkind for one in many) for k in (0, 6)]
    assert unkind[1] < unkind[0] / 2
    kept = pooled([last_revisions(many), Chosen(["p"], ["a"])])
    assert len(kept) == 61
