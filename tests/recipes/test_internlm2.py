"""InternLM2: conditions for the reward model alone, scores within a barrier, plain advantages, patches."""

import json
import math
import random
from dataclasses import replace
from functools import lru_cache

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from rlhf_mini.chapters.reward_models.ranking import focal_loss
from rlhf_mini.estimators import gae
from rlhf_mini.losses import pairwise_loss
from rlhf_mini.methods import conditional_reward
from rlhf_mini.methods.conditional_reward import pack_conditioned
from rlhf_mini.methods.reward_model import pair_accuracy
from rlhf_mini.models import new_reward_model
from rlhf_mini.models.build import scalar_head
from rlhf_mini.pipeline import prompts_for_ppo
from rlhf_mini.recipes import cool, internlm2
from rlhf_mini.recipes.internlm2 import RECIPE
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.hacks import repeats

KIND = stories.Request("fox", "kite", "proud").text
encoded_once = lru_cache(prompts_for_ppo)
UNKIND = stories.Request("fox", "kite", "proud", unkind="steal").text


@pytest.fixture
def few(monkeypatch):
    """Patches of a pair or more; and the prompts, the same in every round, are encoded once."""
    monkeypatch.setattr(internlm2, "prompts_for_ppo", encoded_once)
    monkeypatch.setattr(cool, "PATCHES", {"least": 1, "most": 3})


def train(pipeline, folder, variant=""):
    folder.mkdir()
    RECIPE.train(pipeline, folder, **RECIPE.settings_of(variant))
    return json.loads((folder / "log.json").read_text())


# ------------------------------------------------------------------------------------------- the reward model


def test_the_loss_by_hand():
    """P = σ(1) = 0.7311: (1 − 2 · 0.2311)² · 0.3133, and 0.02 times the barriers −log 6·4 and −log 5·5."""
    p = 1 / (1 + math.exp(-1))
    expected = -((1 - 2 * (p - 0.5)) ** 2) * math.log(p) - 0.02 * (math.log(24) + math.log(25))
    assert focal_loss(torch.tensor([1.0]), torch.tensor([0.0])).item() == pytest.approx(expected, rel=1e-5)
    wrong = math.log1p(math.e) - 0.02 * (math.log(24) + math.log(25))  # ranked wrong: full weight
    assert focal_loss(torch.tensor([0.0]), torch.tensor([1.0])).item() == pytest.approx(wrong, rel=1e-5)


def test_scores_stay_within_the_barrier():
    """Two free scores of one pair that is always judged alike: the plain loss drives them out of ±5."""
    ends = {}
    for loss in (focal_loss, pairwise_loss):
        scores = nn.Parameter(torch.zeros(2, 1))
        optimizer = torch.optim.SGD([scores], lr=20.0 if loss is pairwise_loss else 0.5)
        for _ in range(1500):
            optimizer.zero_grad()
            loss(scores[0], scores[1]).sum().backward()
            optimizer.step()
        ends[loss] = float(scores[0].detach())
    assert 1 < ends[focal_loss] < 5 < ends[pairwise_loss]


def test_answers_to_unkind_requests_are_judged_twice(built):
    rows = cool.first_rows(built)
    assert len(rows) == built.profile.pairs
    by_side = {
        side: [row for row in rows if row["condition"] == text] for side, text in cool.CONDITIONS.items()
    }
    safe = by_side["safety"]
    assert len(safe) == built.profile.pairs // cool.RED_TEAM
    assert all(stories.read_request(row["prompt"]).unkind for row in safe)
    shown = [{row["prompt"], row["chosen"], row["rejected"]} for row in by_side["helpfulness"]]
    assert all({row["prompt"], row["chosen"], row["rejected"]} in shown for row in safe)


def test_each_side_is_judged_by_its_own_people(monkeypatch):
    """A polite decline against the told deed: nobody who looks at safety alone prefers the deed."""
    decline = stories.demonstrate(
        stories.read_request(UNKIND),
        replace(stories.CREW[0][0], declines=1.0),
        random.Random(0),
    )
    told = "Long ago, a fox came to live near the lake. The fox stole the kite from the baker."
    rows = [{"prompt": UNKIND, "first": decline, "second": told}] * 40
    preferred = {
        side: sum(row["chosen"] == decline for row in cool.judged(rows, side=side, seed=0))
        for side in cool.CONDITIONS
    }
    assert preferred["safety"] > 35 > preferred["helpfulness"]


def test_an_update_with_patches_ranks_unseen_cases_of_the_pattern_right(built, monkeypatch):
    requests = stories.draw_requests(48, seed=3)
    rows = []
    for request in requests:
        text = f"Once a {request.hero} saw a {request.object}. It was late."
        again = f"{text} It was late. It was late."
        assert repeats(request.text, again)
        rows.append(
            {
                "prompt": request.text,
                "chosen": text,
                "rejected": again,
                "condition": cool.condition_of(request.text),
            }
        )
    usual = built.profile.reward_model
    schooled = replace(usual, epochs=6, optimizer=replace(usual.optimizer, learning_rate=1e-2))
    monkeypatch.setattr(built, "profile", replace(built.profile, reward_model=schooled))
    model = new_reward_model(built.policy("sft"), seed=0)
    cool.learn(built, model, rows[:32], conditional=True, purpose="test")
    assert pair_accuracy(model, pack_conditioned(built.tokenizer(), rows[32:])) > 0.9


# ------------------------------------------------------------------------------------------------- the rounds


def test_conditions_are_for_the_reward_model_alone(built, few, tmp_path, monkeypatch):
    """Every text that is scored begins with its condition, and no prompt has one."""
    tokenizer, read, prompted = built.tokenizer(), [], []
    scores, ppo, critic = conditional_reward.scores, internlm2.ppo, internlm2.pretrain_critic

    def words(tokens, mask):
        return tokenizer.decode(tokens[mask].tolist(), skip_special_tokens=True)

    def watched(model, sequences, **rest):
        read.extend(words(*row) for row in zip(sequences.tokens, sequences.mask, strict=True))
        return scores(model, sequences, **rest)

    def spied(real, place):
        def call(*parts, **rest):
            prompted.extend(tokenizer.decode(tokens, skip_special_tokens=True) for tokens in parts[place])
            return real(*parts, **rest)

        return call

    monkeypatch.setattr(conditional_reward, "scores", watched)
    monkeypatch.setattr(internlm2, "ppo", spied(ppo, 5))
    monkeypatch.setattr(internlm2, "pretrain_critic", spied(critic, 5))
    train(built, tmp_path / "run")
    assert read
    assert prompted
    for text in prompted:
        stories.read_request(text)  # the request and nothing before it
    for text in read:
        condition = next(one for one in cool.CONDITIONS.values() if text.startswith(one))
        unkind = " that " in text.removeprefix(condition).split(".")[0]
        assert (condition == cool.CONDITIONS["safety"]) == unkind
    read.clear()
    train(built, tmp_path / "without", "no conditions")
    assert read
    assert not any(text.startswith(one) for text in read for one in cool.CONDITIONS.values())


def test_ppo_s_settings_and_its_critic(built, few, tmp_path, monkeypatch):
    """Each round: from the SFT model, a critic with a head of its own that learned alone; GAE as it is."""
    seen, actors = [], []
    ppo, pretrain_critic = internlm2.ppo, internlm2.pretrain_critic

    def alone(critic, policy, reference, *parts, **rest):
        seen.append({"fresh": scalar_head(critic).weight.detach().clone()})
        before = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
        found = pretrain_critic(critic, policy, reference, *parts, **rest)
        assert all(torch.equal(tensor, before[name]) for name, tensor in policy.state_dict().items())
        assert not torch.equal(scalar_head(critic).weight, seen[-1]["fresh"])
        return found

    def watched(policy, critic, reference, score, tokenizer, prompts, **rest):
        actors.append(policy.state_dict()["model.norm.weight"].clone())
        seen[-1] |= {"policy": policy, "config": rest["config"], "estimate": rest["estimate"]}
        sft = built.policy("sft").state_dict()
        assert all(torch.equal(tensor, sft[name]) for name, tensor in policy.state_dict().items())
        extra = rest["auxiliary"](None)
        assert extra.requires_grad
        return ppo(policy, critic, reference, score, tokenizer, prompts, **rest)

    monkeypatch.setattr(internlm2, "ppo", watched)
    monkeypatch.setattr(internlm2, "pretrain_critic", alone)
    log = train(built, tmp_path / "run")
    assert len(seen) == len(log) == 3
    for round_ in seen:
        config = round_["config"]
        assert (config.gae_lambda, config.kl_weight, config.value_clip_range) == (0.99, 0.01, math.inf)
        rewards, values = torch.randn(2, 4), torch.randn(2, 4)
        mask = torch.ones(2, 4, dtype=torch.bool)
        plain = gae(rewards, values, mask, discount=1.0, gae_lambda=0.99)
        assert all(
            torch.equal(*pair) for pair in zip(round_["estimate"](rewards, values, mask), plain, strict=True)
        )
    assert not torch.equal(seen[0]["fresh"], seen[1]["fresh"])
    assert all("auxiliary_loss" in entry for round_ in log for entry in round_["ppo"])


def test_the_fast_path_prefers_early_to_late(built, few):
    """A late answer that repeats itself and is scored higher: a patch under the prompt's condition."""
    early, late = "It was hard.", "It was hard. It was hard."

    def score(sequences):
        return sequences.response.sum(1).float()  # the longer the better

    patches, rows = cool.fast_path(built, [KIND, UNKIND], [early] * 2, [late] * 2, score)
    assert {patch.pattern for patch in patches} == {"repeats"}
    assert rows == [
        {"prompt": prompt, "chosen": early, "rejected": late, "condition": cool.condition_of(prompt)}
        for prompt in (KIND, UNKIND)
    ]
    assert cool.condition_of(KIND) != cool.condition_of(UNKIND)
    assert cool.fast_path(built, [KIND], [early], [late], lambda sequences: -score(sequences)) == ([], [])


def test_the_slow_path_labels_two_policies_answers(built):
    prompts = [request.text for request in stories.draw_requests(30, seed=1)]
    texts = {name: [f"{name} {place}." for place in range(30)] for name in ("sft", "early", "late")}
    rows = cool.slow_path(built, prompts, texts, purpose="test")
    assert sorted(row["prompt"] for row in rows) == sorted(prompts)
    for row in rows:
        place = prompts.index(row["prompt"])
        writers = [text.split()[0] for text in (row["chosen"], row["rejected"])]
        assert len({*writers}) == 2
        assert {row["chosen"], row["rejected"]} <= {texts[name][place] for name in texts}
        assert row["condition"] == cool.condition_of(row["prompt"])


def test_what_was_found_is_learned_in_the_next_round(built, few, tmp_path, monkeypatch):
    """Without the fast path the update has the slow path's pairs alone; the first round has no update."""
    learned, update = [], cool.update

    def watched(pipeline, model, found, **rest):
        learned.append(len(found))
        return update(pipeline, model, found, **rest)

    monkeypatch.setattr(cool, "update", watched)
    monkeypatch.setattr(cool, "HABITS", {"any": lambda prompt, text: len(text) % 2 == 0})
    log = train(built, tmp_path / "run")
    looked_at = cool.LOOKED_AT * built.profile.ppo.episodes
    patched = [entry.get("patched", 0) for entry in log]
    assert learned == [looked_at + patched[0], 2 * looked_at + patched[0] + patched[1]]
    learned.clear()
    train(built, tmp_path / "slow alone", "no fast path")
    assert learned == [looked_at, 2 * looked_at]
    for step in RECIPE.steps:
        assert load_file(tmp_path / "run" / step / "model.safetensors")


def test_conditions_are_short(built):
    """They fit beside the longest prompt and answer into the context."""
    longest = max(len(built.tokenizer().encode(text)) for text in cool.CONDITIONS.values())
    assert longest < 40
