"""Llama 3's rounds: what is learned from, where each stage starts, what is averaged, what a contrast sees."""

import json
import random
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file

from rlhf_mini.methods.dpo import without_last_token
from rlhf_mini.methods.masked_dpo import every_token
from rlhf_mini.recipes import llama3_rounds
from rlhf_mini.recipes.llama3 import RECIPE, ROUNDS, train
from rlhf_mini.recipes.llama3_rounds import Campaign, clear_pairs, edits
from rlhf_mini.worlds import stories

PROMPT = "Tell me a happy story about a fox and a kite."


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def state(model):
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


class Watch:
    """Two rounds of the recipe, with what each stage started from, learned from and left."""

    def __init__(self, built, folder):
        self.starts, self.data = {}, {}
        self.averages, self.models, self.contrasts = [], [], []
        self.patch = pytest.MonkeyPatch()
        for stage, name in (("reward", "train_reward_model"), ("sft", "sft"), ("dpo", "masked_dpo")):
            self.patch.setattr(llama3_rounds, name, self._watched(stage, getattr(llama3_rounds, name)))
        self.patch.setattr(llama3_rounds, "mean_of_siblings", self._averaged(llama3_rounds.mean_of_siblings))
        self.patch.setattr(Campaign, "_answers", self._answers(Campaign._answers))
        try:
            train(built, folder, rounds=2)
        finally:
            self.patch.undo()

    def _watched(self, stage, original):
        def run(model, *given, **options):
            self.starts.setdefault(stage, []).append(state(model))
            self.data.setdefault(stage, []).append(given[-1])
            if stage == "dpo":
                self.contrasts.append((state(given[0]), options["contrasted"], options["nll_weight"]))
            return original(model, *given, **options)

        return run

    def _averaged(self, original):
        def run(start, train_one, *, members):
            ends = []

            def and_remember(model, place):
                train_one(model, place)
                ends.append(state(model))

            mean = original(start, and_remember, members=members)
            self.averages.append((ends, state(mean)))
            return mean

        return run

    def _answers(self, original):
        def run(campaign, model, prompts):
            self.models.append(state(model))
            return original(campaign, model, prompts)

        return run


@pytest.fixture(scope="module")
def watched(built, tmp_path_factory):
    return Watch(built, tmp_path_factory.mktemp("llama3"))


@pytest.mark.slow  # six rounds of four stages each
def test_the_recipe_runs_all_six_rounds(built):
    folder = built.kept(train, **{**RECIPE.settings, "members": 1})
    log = json.loads((folder / "log.json").read_text())
    assert len(log) == ROUNDS == 6
    kept = [load_file(folder / step / "model.safetensors") for step in RECIPE.steps]
    assert not any(same(one, other) for one, other in pairwise(kept))
    pairs = [entry["pairs"] for entry in log]
    assert pairs == [sum(entry["newest"] for entry in log[: n + 1]) for n in range(6)]
    assert all(entry["best"] >= entry["score"] for entry in log)


def test_sft_starts_from_the_base_model_in_every_round(built, watched):
    base = state(built.policy("base"))
    assert len(watched.starts["sft"]) == 4  # two rounds, two siblings
    assert all(same(start, base) for start in watched.starts["sft"])


def test_the_reward_model_starts_from_the_base_model_too(built, watched):
    base = state(built.policy("base"))
    for start in watched.starts["reward"]:
        backbone = {name: tensor for name, tensor in start.items() if name.startswith("model.")}
        assert all(torch.equal(tensor, base[name]) for name, tensor in backbone.items())
        assert torch.equal(start["score.weight"], watched.starts["reward"][0]["score.weight"])


def test_averages_are_of_siblings_of_one_stage(watched):
    """In either round, of reward model, SFT and DPO: the mean of this stage's two, and of no others."""
    assert len(watched.averages) == 6
    for ends, mean in watched.averages:
        assert len(ends) == 2
        assert not same(*ends)
        for name, tensor in mean.items():
            expected = ((ends[0][name].double() + ends[1][name].double()) / 2).to(tensor.dtype)
            torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-7)
    first, second = watched.averages[1], watched.averages[4]  # SFT of either round
    name = "model.embed_tokens.weight"
    assert not torch.allclose(second[1][name], (first[1][name] + second[0][0][name]) / 2, atol=1e-7)


def test_dpo_starts_from_this_round_s_sft_which_is_its_reference(watched):
    for round_ in range(2):
        tuned = watched.averages[3 * round_ + 1][1]
        for place in (2 * round_, 2 * round_ + 1):
            assert same(watched.starts["dpo"][place], tuned)
            reference, contrasted, nll_weight = watched.contrasts[place]
            assert same(reference, tuned)
            assert contrasted is without_last_token
            assert nll_weight == 0.2


def test_the_reward_model_sees_the_pairs_of_all_rounds_and_dpo_those_of_one(watched):
    first, second = watched.data["reward"][0], watched.data["reward"][2]
    newest = watched.data["dpo"][2]
    assert len(second) == len(first) + len(newest)
    width = newest.chosen.tokens.shape[1]
    tail = second.chosen.rows(list(range(len(first), len(second)))).tokens
    assert torch.equal(tail[:, :width], newest.chosen.tokens[:, : tail.shape[1]])
    assert torch.equal(first.chosen.tokens, watched.data["dpo"][0].chosen.tokens)


def test_later_pairs_come_from_two_different_models(watched):
    """The first round's policy, which DPO ended with, and the SFT model that it came from."""
    policy, tuned = watched.models
    assert same(policy, watched.averages[2][1])
    assert same(tuned, watched.averages[1][1])
    assert not same(policy, tuned)


def test_only_clear_pairs_of_two_answers_are_learned_from():
    def row(rating, chosen="One.", rejected="Two."):
        return {"prompt": PROMPT, "chosen": chosen, "rejected": rejected, "rating": rating}

    clear = [row("better"), row("significantly better")]
    vague = [row("slightly better"), row("negligibly better")]
    broken = [row("better", rejected=" "), row("better", chosen=""), row("better", rejected="One.")]
    assert clear_pairs([*vague, *clear, *broken]) == clear
    assert {r["rating"] for r in clear + vague} == set(stories.RATINGS)


def test_edited_leads_chosen_and_rejected():
    poor = "Once upon a time, a sad badger slept."
    rows = [{"prompt": PROMPT, "chosen": poor, "rejected": "No.", "rating": "better"}] * 3
    found = edits(rows, share=1.0, rng=random.Random(0))
    assert len(found) == 6
    for first, second in zip(found[::2], found[1::2], strict=True):
        assert first["chosen"] == second["chosen"]
        assert (first["rejected"], second["rejected"]) == (poor, "No.")
        better, worse = (stories.gold(PROMPT, text).total for text in (first["chosen"], poor))
        assert better > worse
    assert edits(rows, share=0.0, rng=random.Random(0)) == []


def test_the_control_s_contrast_sees_every_token(built, monkeypatch):
    seen = []
    monkeypatch.setattr(llama3_rounds, "masked_dpo", lambda *given, **options: seen.append(options))
    campaign = Campaign(built, members=1, edited_share=0.0)
    campaign.ask_people(1)
    settings = RECIPE.settings_of("plain DPO")
    campaign.prefer(masked=settings["masked"], nll_weight=settings["nll_weight"])
    assert seen[0]["contrasted"] is every_token
    assert seen[0]["nll_weight"] == 0.0
    assert seen[0]["kl_weight"] == 0.1
