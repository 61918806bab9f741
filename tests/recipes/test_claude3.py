"""Claude 3 on the miniature pipeline: which revisions are learned, who labels what, by which principles."""

import json
import shutil
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file

from rlhf_mini.chapters.rlaif import phase_one, phase_two
from rlhf_mini.data.chat import response_texts
from rlhf_mini.methods.constitution import all_revisions
from rlhf_mini.methods.judge import with_context
from rlhf_mini.models import freeze
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.recipes import claude3
from rlhf_mini.recipes.claude3 import RECIPE, WORDINGS
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.rubric import is_unkind_request

RED_TEAM, KIND = 6, 8
ASKED = []  # every comparison that the judge was asked


def ask(comparisons):
    """A judge who likes long answers a little more, whatever the order."""
    ASKED.extend(comparisons)
    lead = torch.tensor([float(len(one.first) - len(one.second)) for one in comparisons])
    return (lead / 100).sigmoid().clamp(0.1, 0.9)


def helper(pipeline):
    """The SFT model, with room for critiques."""
    return freeze(with_context(pipeline.policy("sft"), context=768))


@pytest.fixture(scope="module")
def apart(built, tmp_path_factory):
    """The built stages in a cache of their own, the SFT model as the helper, a judge who can be heard."""
    root = tmp_path_factory.mktemp("claude3") / "cache"
    shutil.copytree(built.store.root, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phase_one, "helper", helper)
        patch.setattr(phase_one, "RED_TEAM", RED_TEAM)
        patch.setattr(phase_one, "KIND", KIND)
        patch.setattr(phase_two, "RED_TEAM_PROMPTS", 5)
        patch.setattr(claude3, "ask_of", lambda pipeline: ask)
        yield Pipeline(built.profile, cache=root)


def learned(pipeline, monkeypatch, folder, **settings):
    """The model and the answers, in words, with which the first phase calls fine-tuning."""
    seen = []
    monkeypatch.setattr(claude3, "sft", lambda model, rows, **rest: seen.append((model, rows)))
    claude3.revised(pipeline, folder, **settings)
    model, rows = seen[0]
    return model, response_texts(pipeline.tokenizer(), rows)


def test_the_base_learns_the_revisions_of_all_steps(apart, monkeypatch, tmp_path):
    model, texts = learned(apart, monkeypatch, tmp_path, revisions="all")
    base = apart.policy("base").state_dict()
    assert all(torch.equal(tensor, base[name]) for name, tensor in model.state_dict().items())
    assert len(texts) == RED_TEAM * phase_one.REVISIONS + KIND
    found = phase_one.read_revised(apart.kept(phase_one.revised))
    assert texts[: -KIND or None] == all_revisions(found).answers
    assert all(len(one.rounds) == phase_one.REVISIONS for one in found)


def test_the_last_revisions_are_a_part_and_give_the_chapter_s_policy(apart, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        _, texts = learned(apart, patch, tmp_path, revisions="last")
    assert len(texts) == RED_TEAM + KIND
    ours = claude3.revised_of(apart, revisions="last").state_dict()
    theirs = phase_one.policy_of(apart).state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_other_revisions_are_refused(apart, tmp_path):
    with pytest.raises(ValueError, match="one of all, last, got 'first'"):
        claude3.revised(apart, tmp_path, revisions="first")


def test_a_principle_is_drawn_for_each_pair_and_the_pair_asked_in_both_orders(apart, monkeypatch, tmp_path):
    monkeypatch.setattr(claude3, "label_count", lambda pipeline: 60)
    ASKED.clear()
    claude3.judged(apart, tmp_path, revisions="all")
    given, swapped = ASKED[:30], ASKED[30:]
    assert len(ASKED) == 60
    for one, other in zip(given, swapped, strict=True):
        assert (one.principle, one.first, one.second) == (other.principle, other.second, other.first)
    drawn = [one.principle for one in given]
    assert {*drawn} == {*WORDINGS}  # that one of four is missing has chance 4 · (3/4)^30 < 1/1000
    # drawn anew, not dealt in turn: neighbours are alike now and then
    assert any(first == second for first, second in pairwise(drawn))
    assert all(is_unkind_request(one.prompt) for one in given)


def test_harmlessness_is_the_judge_s_and_helpfulness_is_people_s(apart):
    """No label of an unkind request is 0 or 1; every label of a kind one is a person's choice."""
    labels = claude3.labels_of(apart, revisions="all", people_share=0.5)
    count = claude3.label_count(apart)
    assert len(labels) == count == 30
    judges = [one for one in labels if is_unkind_request(one.prompt)]
    peoples = [one for one in labels if not is_unkind_request(one.prompt)]
    assert len(judges) == len(peoples) == count // 2
    assert all(0 < one.preference < 1 for one in judges)
    assert len({one.preference for one in judges}) > 2  # soft: more than a choice
    assert {one.preference for one in peoples} == {1.0}
    known = {(row["prompt"], row["chosen"], row["rejected"]) for row in apart.preferences("train")}
    shown = known | {(prompt, rejected, chosen) for prompt, chosen, rejected in known}
    assert {(one.prompt, one.first, one.second) for one in peoples} <= shown


def test_without_the_judge_nobody_is_asked_and_there_are_as_many_labels(apart, monkeypatch):
    monkeypatch.setattr(claude3, "judged", None)  # would be called
    labels = claude3.labels_of(apart, revisions="all", people_share=1.0)
    assert len(labels) == claude3.label_count(apart)
    assert not any(is_unkind_request(one.prompt) for one in labels)
    with pytest.raises(ValueError, match=r"must be 0.5 or 1, got 0.3"):
        claude3.labels_of(apart, revisions="all", people_share=0.3)


@pytest.mark.parametrize("variant", ["", *RECIPE.variants])
def test_the_whole_recipe(apart, monkeypatch, tmp_path, variant):
    asked, real = [], claude3.ppo

    def watched(policy, value_model, reference, score, tokenizer, prompts, **rest):
        asked.extend(tokenizer.decode(row, skip_special_tokens=True) for row in prompts)
        return real(policy, value_model, reference, score, tokenizer, prompts, **rest)

    monkeypatch.setattr(claude3, "ppo", watched)
    settings = RECIPE.settings_of(variant)
    RECIPE.train(apart, tmp_path, **settings)
    start, policy = (load_file(tmp_path / step / "model.safetensors") for step in RECIPE.steps)
    first = claude3.revised_of(apart, revisions=settings["revisions"]).state_dict()
    assert all(torch.equal(tensor, first[name]) for name, tensor in start.items())
    assert not all(torch.equal(tensor, policy[name]) for name, tensor in start.items())
    log = json.loads((tmp_path / "log.json").read_text())
    assert [entry["kl_weight"] for entry in log] == [settings["kl_weight"]] * apart.profile.ppo.iterations
    assert log[0]["kl_k1"] == pytest.approx(0, abs=1e-4)
    assert all("gold" in entry for entry in log)
    usual = {one.text for one in stories.draw_requests(4000, seed=apart.seed_for("PPO prompts"))}
    assert usual < {*asked}
    assert all(is_unkind_request(one) for one in {*asked} - usual)
    assert (tmp_path / "preference model" / "model.safetensors").exists()
