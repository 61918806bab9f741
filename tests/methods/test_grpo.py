"""Groups, rewards made of parts, and the training on them: by hand, and what must hold in every run."""

import dataclasses
import math
import re
from itertools import islice

import pytest
import torch

from rlhf_mini.batch import Sequences, pack_rows
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.data.digits import character_tokenizer
from rlhf_mini.data.tokenizer import encode_prompt
from rlhf_mini.loop import OptimizerConfig, Training
from rlhf_mini.methods.answers import Drawing, text_score
from rlhf_mini.methods.group_methods import (
    dapo_method,
    dr_grpo_method,
    grpo_method,
    named_methods,
    reinforce_method,
    rloo_method,
)
from rlhf_mini.methods.groups import Graded, Groups, draw_scored, estimated, prompts_in_turn
from rlhf_mini.methods.grpo import GRPOConfig, collect, group_loss, grpo, update
from rlhf_mini.methods.reward_parts import (
    Part,
    cut_off_penalty,
    overlong_penalty,
    score_parts,
    weighted_sum,
)
from rlhf_mini.methods.sft import SFTConfig, sft
from rlhf_mini.models import copy_of, freeze, new_llama, response_logp
from rlhf_mini.worlds.sums import ALPHABET, Level, demonstrate, draw_sums
from rlhf_mini.worlds.sums_verifier import answer_right, steps_written

DRAWING = Drawing(samples=4, temperature=1.0, max_new_tokens=3)


def settings(**changes) -> GRPOConfig:
    numbers = {
        "iterations": 2,
        "prompts": 4,
        "drawing": DRAWING,
        "minibatch": 16,
        "epochs": 1,
        "optimizer": OptimizerConfig(learning_rate=1e-2),
    }
    return GRPOConfig(**{**numbers, **changes})


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def run(toy_policy, toy_score, toy_tokenizer):
    """Trains a copy of the toy policy; returns it and the log."""

    def run(config, method, *, reference=None, parts=None, seed=0, **more):
        policy = copy_of(toy_policy)
        parts = {"text": Part(toy_score)} if parts is None else parts
        log = grpo(
            policy,
            reference,
            toy_tokenizer,
            [[0]],
            parts,
            method,
            config=config,
            generator=seeded(seed),
            **more,
        )
        return policy, log

    return run


@pytest.fixture
def groups_of(toy_policy, toy_score, toy_tokenizer):
    def groups_of(config, method, *, reference=None):
        turn = prompts_in_turn([[0]], generator=seeded(1))
        return collect(
            toy_policy,
            reference,
            toy_tokenizer,
            turn,
            {"text": Part(toy_score)},
            method,
            config=config,
            generator=seeded(),
        )

    return groups_of


# -------------------------------------------------------------------------------------------------- rewards


def test_parts_are_scored_apart_and_weighed_together():
    answers = pack_rows([[1]] * 3, [[5, 2], [5, 5, 2], [5, 5, 5]], pad_token=0)
    parts = {
        "length": Part(lambda sequences: sequences.response.sum(1).float(), weight=0.5),
        "cut off": Part(cut_off_penalty(end_token=2), weight=10.0),
    }
    scores = score_parts(parts, answers)
    assert [*scores] == ["length", "cut off"]
    assert scores["cut off"].tolist() == [0.0, 0.0, -1.0]
    assert weighted_sum(parts, scores).tolist() == [1.0, 1.5, 1.5 - 10.0]


def test_the_price_of_length_by_hand():
    lengths = (1, 4, 5, 6, 7, 8, 9)
    answers = pack_rows([[1]] * len(lengths), [[5] * n for n in lengths], pad_token=0)
    found = overlong_penalty(longest=8, buffer=4)(answers)
    assert found.tolist() == [0.0, 0.0, -0.25, -0.5, -0.75, -1.0, -1.0]
    for bad in ({"longest": 4, "buffer": 0}, {"longest": 4, "buffer": 5}):
        with pytest.raises(ValueError, match="need 0 < buffer <= longest"):
            overlong_penalty(**bad)


def test_bad_parts():
    answers = pack_rows([[1]], [[5, 2]], pad_token=0)
    with pytest.raises(ValueError, match="at least one part"):
        score_parts({}, answers)
    with pytest.raises(ValueError, match="NaN or infinity"):
        score_parts({"x": Part(lambda sequences: torch.tensor([math.nan]))}, answers)
    with pytest.raises(ValueError, match="weight of a part must be finite"):
        Part(lambda sequences: torch.zeros(1), math.inf)


# --------------------------------------------------------------------------------------------------- groups


def test_prompts_come_in_turn():
    prompts = [[1], [2], [3]]
    taken = list(islice(prompts_in_turn(prompts, generator=seeded()), 9))
    assert all(sorted(taken[start : start + 3]) == prompts for start in (0, 3, 6))
    with pytest.raises(ValueError, match="no prompts"):
        next(prompts_in_turn([], generator=seeded()))


def test_a_group_shares_its_prompt(toy_policy, toy_score, toy_tokenizer):
    turn = prompts_in_turn([[0], [0, 1], [0, 2, 3]], generator=seeded())
    config = settings(prompts=3, minibatch=12)
    drawn = collect(
        toy_policy,
        None,
        toy_tokenizer,
        turn,
        {"text": Part(lambda sequences: sequences.response.sum(1).float())},
        grpo_method(),
        config=config,
        generator=seeded(),
    )
    sequences = drawn.answers.sequences
    given = [
        row[mask].tolist()
        for row, mask in zip(sequences.tokens, sequences.mask & ~sequences.response, strict=True)
    ]
    assert all(given[start : start + 4] == [given[start]] * 4 for start in (0, 4, 8))
    assert sorted({tuple(prompt) for prompt in given}) == [(0,), (0, 1), (0, 2, 3)]
    order = torch.tensor([0, 4, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11])  # one answer of another group
    with pytest.raises(ValueError, match="the answers of group 0 do not share their prompt"):
        Groups(drawn.answers.rows(order), drawn.scores, drawn.rewards, group=4, drawn=12)


def test_answers_differ_within_a_group(groups_of):
    drawn = groups_of(settings(), grpo_method())
    rows = {tuple(row) for row in drawn.answers.sequences.tokens[:8].tolist()}
    assert len(rows) > 3


def by_hand() -> Groups:
    """Two prompts, two answers each: one right, one wrong but cut off; two wrong."""
    sequences = pack_rows([[1], [1], [1, 5], [1, 5]], [[7, 2], [7, 8, 9], [2], [8, 2]], pad_token=0)
    logp_old = torch.where(sequences.response, -1.0, 0.0)
    logp_ref = torch.where(sequences.response, -1.5, 0.0)
    scores = {"right": torch.tensor([1.0, 0.0, 0.0, 0.0]), "form": torch.tensor([1.0, 0.0, 1.0, 1.0])}
    rewards = torch.tensor([1.25, 0.0, 0.25, 0.25])
    return Groups(
        Graded(sequences, logp_old, logp_ref, torch.tensor([0.5, -0.5, 0.0, 0.0])),
        scores,
        rewards,
        group=2,
        drawn=6,
    )


def test_metrics_by_hand():
    found = by_hand().metrics(end_token=2)
    half = 0.5 * (2 + 3 + 1 + 2) / 4  # k1 is ½ on each of two, three, one and two tokens
    k3 = math.exp(-0.5) - 1 + 0.5
    expected = {
        "reward": 1.75 / 4,
        "score_right": 1 / 4,
        "score_form": 3 / 4,
        "pass_rate": 1 / 4,
        "pass_any": 1 / 2,
        "without_spread": 1 / 2,
        "kl_k1": half,
        "kl_k3": 2 * k3,
        "length": 2.0,
        "finished": 3 / 4,
        "drawn": 6.0,
    }
    assert found == pytest.approx(expected, rel=1e-5)


def test_bad_groups():
    good = by_hand()
    for group in (1, 3):
        with pytest.raises(ValueError, match=f"4 answers do not divide into groups of {group}"):
            dataclasses.replace(good, group=group)
    with pytest.raises(ValueError, match=re.escape("rewards must be (4,)")):
        dataclasses.replace(good, rewards=torch.zeros(3))
    with pytest.raises(ValueError, match=re.escape("right must be (4,)")):
        dataclasses.replace(good, scores={"right": torch.zeros(4, 1)})
    for change, message in (
        ({"advantages": torch.zeros(3)}, "advantages must be"),
        ({"advantages": torch.full((4,), math.nan)}, "advantages must be"),
        ({"advantages": torch.zeros(4, requires_grad=True)}, "constants"),
        ({"logp_old": torch.full((4, 4), math.nan)}, "logp_old"),
        ({"logp_ref": torch.zeros(4, 3)}, "share one shape"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(good.answers, **change)


def test_rows_are_taken_with_all_that_belongs_to_them():
    answers = by_hand().answers
    one = answers.rows(torch.tensor([2]))
    assert one.sequences.tokens.tolist() == [[1, 5, 2]]
    assert one.logp_ref.tolist() == [[0.0, 0.0, -1.5]]
    assert answers.rows(torch.tensor([1, 0])).advantages.tolist() == [-0.5, 0.5]


def test_kl_in_the_reward_is_paid_by_the_answer(groups_of, toy_policy):
    torch.manual_seed(3)
    reference = copy_of(toy_policy)
    for parameter in reference.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    free = groups_of(settings(), rloo_method(), reference=freeze(reference))
    paid = groups_of(settings(kl_weight=0.5), rloo_method(), reference=reference)
    log_ratio = ((paid.answers.logp_old - paid.answers.logp_ref) * paid.answers.sequences.response).sum(1)
    assert log_ratio.abs().max() > 0.1
    torch.testing.assert_close(paid.rewards, free.rewards - 0.5 * log_ratio)
    expected = rloo_method().advantage(paid.rewards.view(4, 4)).flatten()
    torch.testing.assert_close(paid.answers.advantages, expected)
    in_loss = groups_of(settings(kl_weight=0.5), grpo_method(), reference=reference)
    assert torch.equal(in_loss.rewards, free.rewards)


def test_without_a_reference_there_is_no_divergence(groups_of):
    drawn = groups_of(settings(), rloo_method())
    assert torch.equal(drawn.answers.logp_ref, drawn.answers.logp_old)
    assert drawn.metrics(end_token=0)["kl_k1"] == 0.0


# ---- groups without spread are drawn again


def only_the_second_prompt_varies(sequences: Sequences) -> torch.Tensor:
    """0 for every answer to a prompt of one token; for others the number of tokens."""
    varies = (sequences.mask & ~sequences.response).sum(1) > 1
    return torch.where(varies, sequences.response.sum(1).float(), 0.0)


@pytest.mark.parametrize("redraws", [0, 5])
def test_groups_that_teach_nothing_are_replaced(toy_policy, toy_tokenizer, redraws):
    turn = prompts_in_turn([[0], [0, 1]], generator=seeded())
    scored = draw_scored(
        toy_policy,
        toy_tokenizer,
        turn,
        {"length": Part(only_the_second_prompt_varies)},
        prompts=4,
        drawing=Drawing(samples=8, temperature=1.0, max_new_tokens=3),
        generator=seeded(),
        redraws=redraws,
    )
    groups = estimated(
        scored,
        None,
        dapo_method(),
        drawing=Drawing(samples=8, temperature=1.0, max_new_tokens=3),
        kl_weight=0.0,
    )
    assert len(groups) == 32
    # Two of every four prompts in turn vary; what is missing is asked for again, half of which varies …
    metrics = groups.metrics(end_token=0)
    assert metrics["without_spread"] == (0.0 if redraws else 0.5)
    assert (metrics["drawn"] > 32) == bool(redraws)
    rewards = only_the_second_prompt_varies(groups.answers.sequences)
    assert torch.equal(rewards, groups.rewards)  # the rows of scores, rewards and tokens belong together
    logp = response_logp(
        toy_policy,
        groups.answers.sequences.tokens,
        groups.answers.sequences.mask,
        groups.answers.sequences.response,
    )
    torch.testing.assert_close(logp.detach(), groups.answers.logp_old, rtol=1e-4, atol=1e-5)


def test_if_nothing_varies_the_groups_stay(toy_policy, toy_tokenizer):
    scored = draw_scored(
        toy_policy,
        toy_tokenizer,
        prompts_in_turn([[0]], generator=seeded()),
        {"nothing": Part(lambda sequences: torch.zeros(len(sequences)))},
        prompts=2,
        drawing=DRAWING,
        generator=seeded(),
        redraws=2,
    )
    assert len(scored.rewards) == 8
    assert scored.drawn == 24


# ----------------------------------------------------------------------------------------------- the update


def plain_loss(logp, groups: Groups, *, clip: float, kl_weight: float) -> float:
    """GRPO's loss of a whole draw in plain Python, from per-token numbers."""
    rewards = groups.rewards.double().tolist()
    total = 0.0
    for start in range(0, len(rewards), groups.group):
        of_group = rewards[start : start + groups.group]
        mean = sum(of_group) / len(of_group)
        std = math.sqrt(sum((r - mean) ** 2 for r in of_group) / (len(of_group) - 1))
        for row in range(start, start + groups.group):
            advantage = (rewards[row] - mean) / (std + 1e-4)
            tokens = []
            for t in groups.answers.sequences.response[row].nonzero().flatten().tolist():
                now = float(logp[row, t])
                before, ref = float(groups.answers.logp_old[row, t]), float(groups.answers.logp_ref[row, t])
                ratio = math.exp(now - before)
                bounded = min(max(ratio, 1 - clip), 1 + clip)
                k3 = math.exp(ref - now) - 1 - (ref - now)
                tokens.append(-min(ratio * advantage, bounded * advantage) + kl_weight * k3)
            total += sum(tokens) / len(tokens)
    return total / len(rewards)


def test_the_loss_is_grpos_formula(groups_of, toy_policy):
    torch.manual_seed(1)
    reference, moved = freeze(copy_of(toy_policy)), copy_of(toy_policy)
    for model, size in ((reference, 0.2), (moved, 0.3)):
        for parameter in model.parameters():
            parameter.data += size * torch.randn_like(parameter)
    config = settings(kl_weight=0.3)
    drawn = groups_of(config, grpo_method(), reference=reference)
    loss, metrics = group_loss(moved, drawn.answers, grpo_method(), config=config)
    sequences = drawn.answers.sequences
    logp = response_logp(moved, sequences.tokens, sequences.mask, sequences.response).detach()
    assert float(loss) == pytest.approx(plain_loss(logp, drawn, clip=0.2, kl_weight=0.3), rel=1e-4)
    assert float(loss) == pytest.approx(float(metrics["policy_loss"] + 0.3 * metrics["kl_loss"]), rel=1e-5)
    # The share that is silenced, by its definition.
    ratio = (logp - drawn.answers.logp_old).exp()
    a = drawn.answers.advantages[:, None]
    silenced = ((ratio > 1.2) & (a > 0) | (ratio < 0.8) & (a < 0)) & sequences.response
    assert float(metrics["clip_fraction"]) == pytest.approx(float(silenced.sum() / sequences.response.sum()))
    assert 0.05 < float(metrics["clip_fraction"]) < 0.9


@pytest.mark.parametrize("name", named_methods(longest=3))
def test_the_ratio_is_one_on_the_first_minibatch_and_no_longer_on_the_next(name, groups_of, toy_policy):
    method = named_methods(longest=3)[name]
    config = settings(epochs=2, minibatch=8)
    drawn = groups_of(config, method)
    policy = copy_of(toy_policy).eval()
    with Training(policy, optimizer=config.optimizer, steps=config.steps) as training:
        entries = update(training, policy, drawn, method, config=config, generator=seeded())
    assert len(entries) == 4
    assert entries[0]["ratio_deviation"] < 1e-5
    assert entries[0]["clip_fraction"] == 0.0
    assert min(entry["ratio_deviation"] for entry in entries[1:]) > 1e-4


def test_at_another_temperature_the_ratio_is_one_as_well(groups_of, toy_policy):
    config = settings(drawing=dataclasses.replace(DRAWING, temperature=0.6), kl_weight=0.1)
    reference = freeze(copy_of(toy_policy))
    drawn = groups_of(config, grpo_method(), reference=reference)
    _, metrics = group_loss(toy_policy, drawn.answers, grpo_method(), config=config)
    assert float(metrics["ratio_deviation"]) < 1e-5
    assert float(metrics["kl_loss"]) == pytest.approx(0.0, abs=1e-6)
    _, elsewhere = group_loss(toy_policy, drawn.answers, grpo_method(), config=settings())
    assert float(elsewhere["ratio_deviation"]) > 0.02


def test_a_policy_that_is_not_the_one_that_drew_is_noticed(groups_of, toy_policy):
    config = settings()
    drawn = groups_of(config, grpo_method())
    policy = copy_of(toy_policy)
    for parameter in policy.parameters():
        parameter.data *= 1.1
    with Training(policy, optimizer=config.optimizer, steps=config.steps) as training:
        with pytest.raises(AssertionError, match="is not the one that is scored"):
            update(training, policy, drawn, grpo_method(), config=config, generator=seeded())
        update(
            training,
            policy,
            drawn,
            grpo_method(),
            config=config,
            generator=seeded(),
            ratio_tolerance=math.inf,
        )


def test_on_policy_the_loss_reads_zero_and_the_policy_learns(
    run, toy_policy, exact_logp, text_rewards, language
):
    config = settings(iterations=40, prompts=8, minibatch=32)
    policy, log = run(config, grpo_method())
    assert max(abs(entry["policy_loss"]) for entry in log) < 1e-5
    assert min(entry["grad_norm"] for entry in log[:10]) > 1e-2  # later all answers are the best one
    rewards = torch.tensor([text_rewards[text] for text in language.texts], dtype=torch.float64)
    before, after = (float((exact_logp(model).exp() * rewards).sum()) for model in (toy_policy, policy))
    assert after > before + 0.5


@pytest.mark.parametrize("name", named_methods(longest=3))
def test_every_method_raises_the_expected_reward(name, run, toy_policy, exact_logp, text_rewards, language):
    config = settings(iterations=10, prompts=8, minibatch=16, epochs=2)
    policy, _ = run(config, named_methods(longest=3)[name])
    rewards = torch.tensor([text_rewards[text] for text in language.texts], dtype=torch.float64)
    before, after = (float((exact_logp(model).exp() * rewards).sum()) for model in (toy_policy, policy))
    assert after > before + 0.1


def test_kl_holds_the_policy_near_its_reference(run, toy_policy):
    reference = freeze(copy_of(toy_policy))
    for method in (grpo_method(), rloo_method()):
        config = settings(iterations=20, prompts=4, minibatch=16)
        _, free = run(config, method, reference=reference)
        _, held = run(dataclasses.replace(config, kl_weight=3.0), method, reference=reference)
        assert held[-1]["kl_k3"] < 0.5 * free[-1]["kl_k3"]


def test_the_same_seed_gives_the_same_run(run, weights_of, same_weights):
    config = settings(epochs=2, minibatch=8)
    one, log = run(config, grpo_method())
    again, log_again = run(config, grpo_method())
    other, _ = run(config, grpo_method(), seed=1)
    assert same_weights(weights_of(one), weights_of(again))
    assert not same_weights(weights_of(one), weights_of(other))
    assert [entry["reward"] for entry in log] == [entry["reward"] for entry in log_again]


def test_an_entry_holds_what_the_draw_and_the_steps_say(run, toy_policy):
    seen = []
    config = settings(kl_weight=0.1)
    _, log = run(
        config,
        grpo_method(),
        reference=freeze(copy_of(toy_policy)),
        on_groups=lambda *told: seen.append(told),
    )
    assert len(log) == 2
    assert {"loss", "policy_loss", "kl_loss", "entropy", "clip_fraction", "ratio_deviation"} <= log[0].keys()
    assert {"reward", "score_text", "pass_rate", "without_spread", "length", "seconds"} <= log[0].keys()
    assert [iteration for iteration, _, _ in seen] == [0, 1]
    assert seen[0][1].rewards.mean().item() == pytest.approx(log[0]["reward"])
    assert log[0]["score_text"] == pytest.approx(log[0]["reward"])


# ------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"iterations": 0}, "must be at least 1"),
        ({"epochs": 0}, "must be at least 1"),
        ({"redraws": -1}, "redraws at least 0"),
        ({"minibatch": 5}, "must be a multiple of minibatch"),
        ({"kl_weight": -0.1}, "kl_weight must be finite"),
        ({"kl_weight": math.nan}, "kl_weight must be finite"),
        ({"drawing": dataclasses.replace(DRAWING, samples=1)}, "at least 2 answers a prompt"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        settings(**change)


def test_steps_are_counted():
    assert settings(iterations=3, minibatch=8, epochs=5).steps == 3 * 5 * 2


def test_a_price_that_nobody_pays_is_refused(run, toy_policy):
    with pytest.raises(ValueError, match="neither in the loss nor in the reward"):
        run(settings(kl_weight=0.1), dr_grpo_method(longest=3), reference=freeze(copy_of(toy_policy)))
    with pytest.raises(ValueError, match="there is no reference"):
        run(settings(kl_weight=0.1), reinforce_method())


def test_a_reference_that_moves_along_is_refused(toy_policy, toy_score, toy_tokenizer):
    with pytest.raises(ValueError, match="shares its weights"):
        grpo(
            toy_policy,
            toy_policy,
            toy_tokenizer,
            [[0]],
            {"text": Part(toy_score)},
            grpo_method(),
            config=settings(kl_weight=0.1),
            generator=seeded(),
        )


# --------------------------------------------------------------------------------------------- it learns sums


@pytest.mark.slow  # a start that is right half of the time takes 300 steps of fine-tuning
def test_sums_are_learned_from_a_verifier_alone():
    """Half of its lessons on each of eight sums were wrong; then verifier and form are all it is told."""
    words, shown = character_tokenizer(ALPHABET), draw_sums(8, Level(numbers=2, digits=1), seed=0)
    texts = [problem.text for problem in shown]
    lessons = pack_texts(words, texts * 12, demonstrate(shown * 12, error_rate=0.5, seed=1))
    policy = new_llama(
        vocab_size=len(words),
        width=32,
        layers=2,
        heads=2,
        context=32,
        pad_token=words.pad_token_id,
        eos_token=words.eos_token_id,
        bos_token=words.bos_token_id,
        seed=0,
    )
    start = SFTConfig(epochs=100, batch=32, optimizer=OptimizerConfig(learning_rate=5e-3, final_fraction=0.1))
    sft(policy, lessons, config=start, generator=seeded())
    log = grpo(
        policy,
        None,
        words,
        [encode_prompt(words, text) for text in texts],
        {
            "answer": Part(text_score(words, answer_right)),
            "form": Part(text_score(words, steps_written), weight=0.2),
        },
        dr_grpo_method(longest=12),
        config=GRPOConfig(
            iterations=24,
            prompts=8,
            drawing=Drawing(samples=8, temperature=1.0, max_new_tokens=12),
            minibatch=64,
            epochs=1,
            optimizer=OptimizerConfig(learning_rate=1e-3),
        ),
        generator=seeded(),
    )
    before, after = (sum(entry["pass_rate"] for entry in part) / 4 for part in (log[:4], log[-4:]))
    assert 0.3 < before < 0.7
    assert after > before + 0.2
    assert log[-1]["score_form"] > 0.9
    assert log[-1]["without_spread"] > log[0]["without_spread"]  # what is always right teaches nothing more
