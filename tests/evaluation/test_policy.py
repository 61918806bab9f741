"""Judging policies: the numbers by hand, on answers that are known."""

import pytest
import torch

import rlhf_mini.evaluation.policy as module
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.data.tokenizer import train_tokenizer
from rlhf_mini.evaluation.policy import judge_plain_text, judge_policy, sample_pool
from rlhf_mini.models import copy_of, new_llama, response_logp
from rlhf_mini.models.sampler import Samples
from rlhf_mini.tensors import last_true_index
from rlhf_mini.worlds.stories import Request, gold
from rlhf_mini.worlds.stories.plots import DECLINES

KIND = [Request("fox", "kite", "happy"), Request("cat", "drum", "sad", length="short")]
UNKIND = Request("dog", "hat", "calm", unkind="steal")


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([*DECLINES, *(request.text for request in (*KIND, UNKIND))], vocab_size=400)


@pytest.fixture(scope="module")
def policy(tokenizer):
    return new_llama(
        vocab_size=len(tokenizer),
        width=16,
        layers=1,
        heads=2,
        context=96,
        pad_token=tokenizer.pad_token_id,
        eos_token=tokenizer.eos_token_id,
        bos_token=tokenizer.bos_token_id,
        seed=0,
    ).eval()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def judged(policy, tokenizer, requests, **more):
    return judge_policy(policy, tokenizer, requests, max_new_tokens=6, generator=seeded(), **more)


@pytest.fixture
def tells(monkeypatch, tokenizer):
    """Makes every policy give these answers, each token with log-probability −1."""

    def tells(answers):
        waiting = list(answers)

        def draw(policy, tokenizer, prompts, **options):
            told = [waiting.pop(0) for _ in prompts]
            texts = [
                tokenizer.decode(prompt[2:-1]) for prompt in prompts
            ]  # <|begin|><|user|> … <|assistant|>
            packed = pack_texts(tokenizer, texts, told)
            return Samples(packed.tokens, packed.mask, packed.response, -packed.response.float())

        monkeypatch.setattr(module, "draw", draw)

    return tells


def test_metrics_by_hand(policy, tokenizer, tells):
    # Nothing told scores 0; the polite decline of an unkind request scores 4, all of it safety.
    answers = ["", DECLINES[0], ""]
    tells(answers)
    result = judged(
        policy,
        tokenizer,
        [KIND[0], UNKIND, KIND[1]],
        score=lambda sequences: sequences.response.sum(1).float(),
    )
    lengths = [len(tokenizer.encode(answer)) + 1 for answer in answers]  # the end token counts
    metrics = result.metrics()
    assert result.answers == answers
    assert result.lengths == lengths
    expected = {
        "gold": 4 / 3,
        "gold_safe_prompts": 0,
        "gold_unkind_prompts": 4,
        "helpfulness": 0,
        "safety": 4 / 3,
        "followed": 1 / 3,
        "length": sum(lengths) / 3,
        "proxy": sum(lengths) / 3,
        "unique_fraction": 2 / 3,
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    assert "kl_k1" not in metrics
    assert all(isinstance(value, float) for value in metrics.values())


@pytest.mark.parametrize(("requests", "missing"), [(KIND, "unkind"), ([UNKIND, UNKIND], "safe")])
def test_gold_of_a_kind_of_request_that_was_not_made_is_left_out(policy, tokenizer, requests, missing):
    metrics = judged(policy, tokenizer, requests).metrics()
    other = {"unkind": "safe", "safe": "unkind"}[missing]
    assert f"gold_{missing}_prompts" not in metrics
    assert metrics[f"gold_{other}_prompts"] == metrics["gold"]


def test_every_answer_is_judged_by_its_own_request(policy, tokenizer):
    result = judged(policy, tokenizer, [*KIND, UNKIND])
    for request, answer, score in zip(result.requests, result.answers, result.golds, strict=True):
        assert score == gold(request, answer)


def test_kl_to_itself_is_zero(policy, tokenizer):
    metrics = judged(policy, tokenizer, [*KIND, UNKIND], reference=copy_of(policy)).metrics()
    for name in ("kl_k1", "kl_k3", "kl_k1_standard_error", "kl_k3_standard_error"):
        assert metrics[name] == pytest.approx(0, abs=1e-4)


def test_kl_is_from_policy_to_reference_in_nats_per_sequence(policy, tokenizer):
    # The reference is the policy at a third of the temperature: some other distribution.
    reference = copy_of(policy)
    reference.lm_head.weight = torch.nn.Parameter(policy.lm_head.weight.detach().clone() * 3)
    requests = [*KIND, UNKIND] * 4
    result = judged(policy, tokenizer, requests, reference=reference)
    prompts = [request.text for request in requests]
    drawn = module.draw(
        policy,
        tokenizer,
        [module.encode_prompt(tokenizer, prompt) for prompt in prompts],
        max_new_tokens=6,
        generator=seeded(),
    )
    with torch.no_grad():
        gaps = drawn.logp - response_logp(reference, drawn.tokens, drawn.mask, drawn.response)
    expected = [
        sum(gap for gap, counts in zip(row, drew, strict=True) if counts)
        for row, drew in zip(gaps.tolist(), drawn.response.tolist(), strict=True)
    ]
    assert result.metrics()["kl_k1"] == pytest.approx(sum(expected) / len(expected), abs=1e-4)
    assert abs(result.metrics()["kl_k1"]) > 0.01


def test_a_base_model_continues_the_prompt_as_plain_text(policy, tokenizer, monkeypatch):
    seen = []

    def draw(policy, tokenizer, prompts, **options):
        seen.extend(prompts)
        return module_draw(policy, tokenizer, prompts, **options)

    module_draw = module.draw
    monkeypatch.setattr(module, "draw", draw)
    result = judge_plain_text(policy, tokenizer, KIND, max_new_tokens=6, generator=seeded())
    assert seen == [[tokenizer.bos_token_id, *tokenizer.encode(request.text)] for request in KIND]
    assert len(result.answers) == 2
    assert result.kl is None
    assert result.proxy is None


def test_a_pool_keeps_each_prompts_answers_together(policy, tokenizer, tells):
    answers = [DECLINES[0], "", DECLINES[1], "no", "", DECLINES[2]]
    tells(answers)
    sizes = []

    def score(sequences):
        sizes.append(len(sequences))
        return sequences.response.sum(1).float()

    pool = sample_pool(
        policy,
        tokenizer,
        [UNKIND, KIND[0]],
        n=3,
        score=score,
        max_new_tokens=6,
        generator=seeded(),
        batch=4,
    )
    assert sizes == [4, 2]
    assert pool.prompts == [UNKIND.text, KIND[0].text]
    assert pool.answers == [answers[:3], answers[3:]]
    expected = [[gold(UNKIND, text).total for text in answers[:3]]]
    expected.append([gold(KIND[0], text).total for text in answers[3:]])
    assert expected[0] == [4.0, 0.0, 4.0]
    assert pool.golds.tolist() == expected
    assert pool.proxies.tolist() == [
        [len(tokenizer.encode(text)) + 1 for text in row] for row in (answers[:3], answers[3:])
    ]


def test_the_proxy_reads_an_ended_text_also_where_sampling_was_cut_off(policy, tokenizer):
    last = []

    def score(sequences):
        places = last_true_index(sequences.response)[:, None]
        last.extend(sequences.tokens.gather(1, places).squeeze(1).tolist())
        return torch.zeros(len(sequences))

    assert max(judged(policy, tokenizer, KIND, score=score).lengths) == 6  # cut off
    sample_pool(policy, tokenizer, KIND, n=3, score=score, max_new_tokens=6, generator=seeded())
    assert last == [tokenizer.eos_token_id] * 8
