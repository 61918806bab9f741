"""Chapter 09's runs on the miniature pipeline: samples, methods, what is said of a policy, tables."""

import math
import random
from dataclasses import replace

import pytest
import torch

from rlhf_mini.chapters import record_figures
from rlhf_mini.chapters.claims import measure, records_of
from rlhf_mini.chapters.filtering import (
    arithmetic,
    choosing,
    claims,
    data,
    family,
    figures,
    looks,
    measures,
    runs,
    training,
)
from rlhf_mini.data.chat import answer, draw, pack_texts
from rlhf_mini.evaluation.policy import Judged, Pool
from rlhf_mini.evaluation.records import Record
from rlhf_mini.methods import raft as raft_module
from rlhf_mini.methods import rest as rest_module
from rlhf_mini.methods.answers import Answers, draw_answers
from rlhf_mini.models import copy_of
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.plots import DECLINES
from tests.chapters.verdicts import filtering as verdicts

STORY = "A fox came to live near the lake. The fox felt proud all week."
POOL = Pool(["p", "q"], [["a"], ["b"]], torch.tensor([[1.0], [2.0]]), torch.zeros(2, 1))
KIND, UNKIND = (stories.Request("fox", "kite", "proud", unkind=deed) for deed in (None, "steal"))


@pytest.fixture
def tiny(built, monkeypatch):
    """The miniature pipeline with small batches and few repetitions."""
    monkeypatch.setattr(training, "BATCH", 2)
    monkeypatch.setattr(training, "WATCHED", 2)
    monkeypatch.setattr(looks, "REPEATED", 2)
    monkeypatch.setattr(looks, "AGAIN", 3)
    monkeypatch.setattr(choosing, "NUMBERS", (1, 2, 4))
    return built


# --------------------------------------------------------------------------------- the samples


def test_every_method_draws_as_many_as_ppo(built):
    ppo = built.profile.ppo
    assert data.budget(built) == ppo.iterations * ppo.episodes == 16
    answers = data.answers_of_sft(built, samples=4)
    assert answers.rewards.shape == (4, 4)
    for rounds, samples in ((1, 4), (2, 4), (4, 2)):
        prompts_of = data.rounds_of_prompts(built, rounds=rounds, samples=samples)
        drawn = [prompt for number in range(1, rounds + 1) for prompt in prompts_of(number)]
        assert samples * len(drawn) == 16
        assert len({len(prompts_of(number)) for number in range(1, rounds + 1)}) == 1
        # the same prompts in the same order, however they are dealt out
        assert drawn == list(data.rounds_of_prompts(built, rounds=1, samples=samples)(1))


def test_what_does_not_divide_is_dealt_out_too(built):
    everything = list(data.rounds_of_prompts(built, rounds=1)(1))
    prompts_of = data.rounds_of_prompts(built, rounds=3)
    parts = [list(prompts_of(number)) for number in (1, 2, 3)]
    assert [len(part) for part in parts] == [1, 1, 2]  # four prompts
    assert [prompt for part in parts for prompt in part] == everything
    # six of sixteen answers are spent otherwise: ten are left, and two prompts of four
    assert list(data.rounds_of_prompts(built, rounds=1, spent=6)(1)) == everything[:2]
    with pytest.raises(ValueError, match="16 answers less 14 are 0 prompts of 4: too few for 1 rounds"):
        data.rounds_of_prompts(built, rounds=1, spent=14)


def test_what_draws_once_draws_the_very_same_answers(tiny, monkeypatch):
    drawn = []

    def watched(*where, **how):
        drawn.append(draw_answers(*where, **how))
        return drawn[-1]

    for module in (raft_module, rest_module):
        monkeypatch.setattr(module, "draw_answers", watched)
    nothing = {"on_round": lambda number, entry: None, "rate": 1e-9}
    for method, settings in (
        (training.in_batches, {"iterations": 1, "samples": 4}),
        (training.in_grows, {"grows": 1, "thresholds": [-1.0], "decay": 1.0}),
    ):
        method(tiny, copy_of(tiny.policy("sft")), **nothing, **settings)
    kept = data.answers_of_sft(tiny)
    assert [answers.texts for answers in drawn] == [kept.texts] * 2


def test_a_run_that_stops_itself_pays_for_its_looks(tiny, monkeypatch):
    asked = []

    def watched(pipeline, policy):
        asked.append(training.WATCHED)
        return float(len(asked))  # rises, so that nothing is undone and all looks are taken

    monkeypatch.setattr(training, "watched_reward", watched)
    real, drawn = rest_module.draw_answers, []

    def counted(policy, tokenizer, prompts, *rest, config, **how):
        drawn.append(len(prompts) * config.samples)
        return real(policy, tokenizer, prompts, *rest, config=config, **how)

    monkeypatch.setattr(rest_module, "draw_answers", counted)
    training.in_grows(
        tiny, copy_of(tiny.policy("sft")), lambda number, entry: None,
        grows=2, thresholds=[-1.0], rate=1e-3, decay=1.0, samples=2, stops=True,
    )  # fmt: skip
    assert asked == [2, 2, 2]  # before the first Improve and after each
    assert sum(drawn) + sum(asked) == data.budget(tiny)


def test_the_watched_reward_is_that_of_the_reward_model_on_prompts_of_its_own(tiny, monkeypatch):
    seen = []

    def watched(policy, tokenizer, prompts, *rest, **how):
        seen.append(list(prompts))
        return draw_answers(policy, tokenizer, prompts, *rest, **how)

    monkeypatch.setattr(training, "draw_answers", watched)
    policy = tiny.policy("sft")
    assert training.watched_reward(tiny, policy) == training.watched_reward(tiny, policy)
    judged = {request.text for again in (False, True) for request in looks.requests(tiny, rehearsal=again)}
    assert not set(seen[0]) & {*judged, *data.rounds_of_prompts(tiny, rounds=1)(1)}


def test_the_answers_are_kept_with_the_rewards_of_the_reward_model(built):
    answers = data.answers_of_sft(built, samples=4)
    again = data.answers_of_sft(built, samples=4)
    assert answers.texts == again.texts
    asked = [prompt for prompt in answers.prompts for _ in range(4)]
    packed = pack_texts(built.tokenizer(), asked, [text for texts in answers.texts for text in texts])
    torch.testing.assert_close(data.reward_of(built)(packed).view(4, 4), answers.rewards, rtol=0, atol=1e-4)


def test_the_prompts_are_training_prompts(built):
    asked = data.rounds_of_prompts(built, rounds=1)(1)
    read = [stories.read_request(prompt) for prompt in asked]
    assert not any(stories.is_held_out(request.hero, request.object) for request in read)
    held_out = looks.requests(built)
    assert all(stories.is_held_out(request.hero, request.object) for request in held_out)
    assert [r.text for r in held_out] != [r.text for r in looks.requests(built, rehearsal=True)]
    assert len(looks.requests(built, times=1)) == built.profile.test_prompts


def test_the_scale_ends_where_the_test_pairs_do(built):
    scale, pairs = data.reward_scale(built), built.preferences("test")
    texts = [*pairs["chosen"], *pairs["rejected"]]
    packed = pack_texts(built.tokenizer(), [*pairs["prompt"], *pairs["prompt"]], texts)
    rewards = sorted(data.reward_of(built)(packed).tolist())
    # of 32 rewards the 0.5% quantile lies 0.155 of the way from the lowest to the next
    assert scale.low == pytest.approx(rewards[0] + 0.155 * (rewards[1] - rewards[0]), abs=1e-4)
    assert scale.high == pytest.approx(rewards[-1] - 0.155 * (rewards[-1] - rewards[-2]), abs=1e-4)


# --------------------------------------------------------------------------------- the methods

EVERY_WAY = {
    "ReST": {"method": "ReST", "grows": 2, "thresholds": [-1.0, 0.0], "rate": 1e-2, "decay": 0.5},
    "ReST that stops": {
        "method": "ReST", "grows": 1, "thresholds": [-1.0, 0.0], "rate": 1e-2, "decay": 0.5, "stops": True,
    },
    "RAFT": {"method": "RAFT", "iterations": 2, "samples": 2, "rate": 1e-2},
    "RRHF": {"method": "RRHF", "ranking_weight": 1.0, "rate": 1e-2},
    "RRHF per token": {"method": "RRHF", "ranking_weight": 100.0, "per_token": True, "rate": 1e-2},
    "SLiC": {"method": "SLiC", "margin": 1.0, "target_weight": 0.1, "rate": 1e-2, "samples": 2},
    "weighted": {"method": "weighted", "kl_weight": 0.5, "largest": 20.0, "rate": 1e-2},
    "all answers": {"method": "weighted", "kl_weight": None, "largest": 1.0, "rate": 1e-2},
}  # fmt: skip


@pytest.mark.slow  # each trains a model, if a tiny one
@pytest.mark.parametrize("name", EVERY_WAY)
def test_a_run_trains_and_is_told_about(tiny, name):
    settings = EVERY_WAY[name]
    told = tiny.measured(runs.outcome, **settings)
    assert set(claims.TOLD) <= set(told)
    assert all(math.isfinite(value) for value in told.values())
    log = runs.log_of(tiny, **settings)
    policy, before = runs.policy_of(tiny, **settings), dict(tiny.policy("sft").named_parameters())
    moved = any(not torch.equal(after, before[at]) for at, after in policy.named_parameters())
    assert moved == any(entry.get("accepted", 1.0) for entry in log["rounds"])  # what does not pay is undone
    assert log["rounds"]
    assert log["seen"] == []


@pytest.mark.slow  # trains, and looks after every round
def test_a_run_that_looks_says_what_it_saw(tiny):
    for settings in ({**EVERY_WAY["ReST"], "looked": True}, {**EVERY_WAY["RAFT"], "looked": True}):
        log = runs.log_of(tiny, **settings)
        assert len(log["seen"]) == len(log["rounds"]) == (4 if settings["method"] == "ReST" else 2)
        assert set(claims.OF_ROUNDS) <= {*log["seen"][0], *log["rounds"][0]}
        assert log["seen"][0]["kl_k3"] != log["seen"][-1]["kl_k3"]


def test_looking_does_not_change_what_is_trained(tiny):
    plain, looked = (runs.policy_of(tiny, **EVERY_WAY["RAFT"], **more) for more in ({}, {"looked": True}))
    pairs = zip(plain.parameters(), looked.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_the_policy_that_was_not_trained_has_not_moved(tiny):
    told = tiny.measured(runs.stage_outcome, stage="sft")
    assert told["kl_k1"] == pytest.approx(0.0, abs=1e-3)
    assert told["entropy"] > 0


def test_the_weights_are_each_prompt_s_own():
    rewards = torch.tensor([[0.0, 1.0], [4.0, 5.0]])
    answers = Answers(["p", "q"], [["a", "b"], ["c", "d"]], rewards)
    found = training.weights_of(answers, kl_weight=0.5, largest=2.0)
    assert found.tolist() == pytest.approx([math.exp(-1), 2.0, math.exp(-1), 2.0])


def test_the_mean_length_counts_end_tokens(built):
    answers = Answers(["p", "q"], [["a", "a a a"], ["a a", "a"]], torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    packed = pack_texts(built.tokenizer(), ["p", "q"], ["a", "a a"])
    expected = float(packed.response.sum(1).float().mean())
    assert training.mean_length(built, answers) == expected


def test_declines_are_counted_on_either_kind():
    judged = Judged(
        requests=[KIND, KIND, UNKIND, UNKIND],
        answers=[STORY, DECLINES[0], DECLINES[0], STORY],
        golds=[], lengths=[], kl=None, proxy=None,
    )  # fmt: skip
    assert looks.declines(judged) == {"unkind_declined": 0.5, "kind_declined": 0.5}


def test_a_rehearsal_looks_at_other_requests_throughout(tiny, monkeypatch):
    asked = []

    def watched(policy, tokenizer, prompts, **how):
        asked.append(list(prompts))
        return draw(policy, tokenizer, prompts, **how)

    monkeypatch.setattr(looks, "draw", watched)
    for rehearsal in (False, True):
        looks.look(tiny, tiny.policy("sft"), rehearsal=rehearsal)
    assert len(asked) == 2
    assert asked[0] != asked[1]


def test_variety_is_that_of_answers_to_one_request(tiny, monkeypatch):
    texts = ["a b c", "a b c", "a b d", "x y z", "x y z", "x y z"]
    monkeypatch.setattr(looks, "response_texts", lambda tokenizer, drawn: texts)
    found = looks.variety(tiny, tiny.policy("sft"))
    assert found["unique"] == pytest.approx((2 / 3 + 1 / 3) / 2)
    # of the first three: 1, 1/3 and 1/3 of the pairs of words are shared; of the others all
    assert found["overlap"] == pytest.approx(((1 + 1 / 3 + 1 / 3) / 3 + 1) / 2)
    assert found["distinct_2"] == pytest.approx(5 / 12)


def test_best_of_n_rises_in_the_reward_model_s_opinion(tiny, monkeypatch):
    curve = tiny.measured(choosing.best_of_n)
    assert curve["n"] == [1.0, 2.0, 4.0]
    assert curve["proxy"] == sorted(curve["proxy"])
    assert curve["kl"][0] == 0.0
    # one answer is any answer: the mean of the pool, to the same requests that policies are judged on
    monkeypatch.setattr(choosing, "NUMBERS", (1,))
    seen = []
    monkeypatch.setattr(choosing, "sample_pool", lambda *where, **how: seen.append(where[2]) or POOL)
    assert choosing.best_of_n(tiny)["gold"] == [pytest.approx(1.5)]
    assert seen == [looks.requests(tiny)]


@pytest.mark.parametrize(("kl", "gold"), [(0.0, 1.0), (0.5, 2.0), (1.0, 3.0), (1.5, 2.5), (9.0, 2.0)])
def test_gold_at_a_divergence_lies_between_the_points(kl, gold):
    assert choosing.gold_at({"kl": [0.0, 1.0, 2.0], "gold": [1.0, 3.0, 2.0]}, kl) == pytest.approx(gold)


# --------------------------------------------------------------------------------- tables and figures


def test_every_run_has_a_name_of_its_own():
    names = [one.name for one in family.ALL]
    assert len(set(names)) == len(names)
    assert len({repr(sorted(one.settings.items(), key=str)) for one in family.ALL}) == len(names)
    assert all(family.run(name).settings["looked"] for name in family.LOOKED)
    with pytest.raises(ValueError, match="no run is called"):
        family.run("GRPO")


def test_the_verdicts_are_what_the_sentences_say():
    by_name = {claim.name: claim for claim in claims.CLAIMS}
    assert len(by_name) == len(claims.CLAIMS)
    assert all(claim.sentence.endswith(".") for claim in claims.CLAIMS)
    assert verdicts.GOOD.keys() == by_name.keys() == {name for name, _ in verdicts.SPOILED}
    for name, numbers in verdicts.GOOD.items():
        assert by_name[name].holds(numbers), name
    for name, change in verdicts.SPOILED:
        assert not by_name[name].holds({**verdicts.GOOD[name], **change}), (name, change)


@pytest.fixture
def on_record(built, monkeypatch):
    """All records of one pipeline, of runs whose numbers are drawn by lot, read as if they were committed."""

    def drawn(one, pipeline):
        rng = random.Random(f"{one.name} {pipeline.seed}")
        return {name: rng.random() for name in claims.TOLD}

    def seen(one, pipeline):
        rng = random.Random(f"rounds {one.name}")
        return [{name: rng.random() for name in claims.OF_ROUNDS} for _ in range(3)]

    def measured(pipeline, experiment, **settings):
        rng = random.Random(experiment.__name__)
        if experiment is choosing.best_of_n:
            drawn = {name: sorted(rng.random() for _ in range(4)) for name in ("gold", "proxy", "kl")}
            return {"n": [1.0, 2.0, 4.0, 8.0], **drawn}
        if experiment is data.ends_of_scale:
            return [-1.0, 1.0]
        if experiment is runs.stage_outcome:
            assert settings == {"stage": "sft", "times": 1}
            return {name: rng.random() for name in claims.TOLD}
        return {
            name: [
                {metric: rng.random() for metric in claims.OF_SUMS} for _ in range(run.get("rounds", 5) + 1)
            ]
            for name, run in arithmetic.METHODS.items()
        }

    monkeypatch.setattr(family.Run, "measured", drawn)
    monkeypatch.setattr(family.Run, "seen", seen)
    monkeypatch.setattr(type(built), "measured", measured)
    found = claims.extra_records(built)
    found += [replace(record, seed=1) for record in found]
    monkeypatch.setattr(
        record_figures,
        "read_records",
        lambda name, *, experiment, profile, **filters: [
            r for r in found if r.experiment == experiment and r.method == filters.get("method", r.method)
        ],
    )
    return found


def test_records_hold_every_run_and_the_figures_draw_them(on_record):
    names = [one.name for one in family.ALL]
    assert all(isinstance(record, Record) for record in on_record)
    assert [r.method for r in on_record if r.experiment == "runs" and r.seed == 0] == names
    assert {r.method for r in on_record if r.experiment == "rounds"} == {"SFT", *family.LOOKED}
    assert {r.method for r in on_record if r.experiment == "sums"} == set(arithmetic.METHODS)
    shown = figures.table(["SFT", "ReST", "PPO"])
    assert [shown.text.index(name) for name in ("SFT", "ReST", "PPO")] == sorted(
        shown.text.index(name) for name in ("SFT", "ReST", "PPO")
    )
    assert "unkind: declined (%)" in shown.body
    start = next(r for r in on_record if (r.experiment, r.method) == ("rounds", "SFT"))
    assert len(start.metrics["gold"]) == 1
    assert f"from {start.metrics['gold'][0]:.2f} to" in figures.improve_curves().body
    for drawn in (figures.improve_curves, figures.kl_curves, figures.sum_figure):
        assert drawn().body
    ends = figures.sum_table()
    places = [ends.text.index(name) for name in ("the start", *arithmetic.METHODS)]
    assert places == sorted(places)
    of_start = [r.metrics["pass_1"][0] for r in on_record if r.method == next(iter(arithmetic.METHODS))]
    assert f"{sum(of_start) / len(of_start):.2f}" in ends.text
    dots = figures.differences({"once": ["SLiC"]}, alt="SLiC less ReST, by seed, drawn by lot for a test.")
    assert "SLiC" in dots.body


def test_by_prompt_the_scale_is_that_of_rewards_less_their_pair_s_mean(built):
    """Of a pair with scores a and b these are ±(a − b)/2: the scale's middle is 0, its ends lie alike."""
    scale, pairs = data.reward_scale(built, by_prompt=True), built.preferences("test")
    chosen, rejected = (
        data.reward_of(built)(pack_texts(built.tokenizer(), list(pairs["prompt"]), list(pairs[side])))
        for side in ("chosen", "rejected")
    )
    largest = float((chosen - rejected).abs().max()) / 2
    assert scale.low == pytest.approx(-scale.high, abs=1e-5)
    assert 0.8 * largest < scale.high <= largest
    rewards = torch.tensor([[5.0, 5.0], [1.0, 1.0]])
    assert scale(rewards).tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_by_prompt_the_rest_filters_on_that_scale(tiny, monkeypatch):
    given = []
    monkeypatch.setattr(training, "rest", lambda *args, scale, **others: given.append(scale) or [])
    numbers = {"grows": 1, "thresholds": [0.5], "rate": 1e-3, "decay": 1.0}
    for by_prompt in (False, True):
        training.in_grows(tiny, copy_of(tiny.policy("sft")), lambda *_: None, by_prompt=by_prompt, **numbers)
    assert given == [data.reward_scale(tiny), data.reward_scale(tiny, by_prompt=True)]
    assert [type(scale).__name__ for scale in given] == ["RewardScale", "PromptScale"]


def test_what_is_written_stands_with_its_gold_and_its_score(tiny):
    """The names in the given order, each text with its own gold, and the reward model's score."""
    shown = figures.written(tiny, [KIND, UNKIND], {"PPO": "policy", "SFT": "reference"})
    prompts = [KIND.text, UNKIND.text]
    for stage in ("sft", "ppo"):
        texts = answer(
            tiny.policy(stage),
            tiny.tokenizer(),
            prompts,
            max_new_tokens=tiny.profile.max_new_tokens,
            generator=tiny.generator("chapter 09 side by side"),
        )
        scores = data.reward_of(tiny)(pack_texts(tiny.tokenizer(), prompts, texts)).tolist()
        for request, text, score in zip((KIND, UNKIND), texts, scores, strict=True):
            told = f"gold {stories.gold(request, text).total:.2f} · proxy {score:.2f}"
            assert f"[{stage.upper()}] {text}\n    {told}" in shown.text
    assert shown.text.index("[PPO]") < shown.text.index("[SFT]") < shown.text.index(UNKIND.text)


def test_what_a_claim_measures_comes_from_runs_that_there_are(built, on_record):
    for measured in (
        measures.grows,
        measures.thresholds,
        measures.varied,
        measures.too_fast,
        measures.by_prompt,
        measures.forgotten,
        measures.beside_best_of_n,
        measures.sums,
    ):
        assert all(isinstance(number, float) for number in measured(built).values())
    for claim in claims.CLAIMS:
        if not claim.live:
            record = measure(claim, built, chapter="09")
            assert isinstance(record.metrics["holds"], bool)
    assert records_of("09", built, {("toy", "x"): {"a": [1.0]}})[0].chapter == "09"
