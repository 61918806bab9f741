"""Our methods and TRL's trainers from one saved model on the same rows: one curve, a wrong setting, two.

Both compute in float32, in other orders: rounding moves a loss of size one by some 1e-7, and training passes
that on. So losses must agree within 5e-6 over six to sixteen steps (measured: at most 3e-6), the norms of
gradients within a hundred-thousandth, and the ends within a five-thousandth of the way (measured: at most
3e-5 of it, by AdamW's division where a gradient is nearly 0).
"""

from functools import cache

import pytest
import torch

from rlhf_mini.chapters.real import beside_data, beside_grpo, beside_trl
from rlhf_mini.chapters.real.beside_trl import Beside, Shared
from rlhf_mini.data.tokenizer import train_tokenizer
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.models import new_llama

pytest.importorskip("trl", reason="TRL is not installed: pip install 'rlhf-mini[bridge]'")
pytestmark = [pytest.mark.bridge, pytest.mark.slow]  # TRL takes seconds to import

LOSS, NORM, WEIGHTS = 5e-6, 1e-5, 2e-4
# Steep enough that clipping, decay rates and weight decay all matter within eight steps.
OPTIMIZER = OptimizerConfig(learning_rate=3e-3, weight_decay=0.1, final_fraction=0.0, clip_norm=0.5)
SHARED = Shared(batch=8, epochs=2, optimizer=OPTIMIZER)
GROUPS = beside_grpo.GroupShared(iterations=3, optimizer=OPTIMIZER)
ROWS = {method: rows(16 if method == "kto" else 32, seed=0) for method, rows in beside_data.ROWS.items()}
PROMPTS = beside_data.request_texts(12, seed=0)


@pytest.fixture(scope="module", autouse=True)
def offline():
    """No network, and no word about what is experimental."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
        yield


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    texts = [f"{row['prompt']} {row['completion']}" for row in ROWS["sft"]]
    tokenizer = train_tokenizer(texts, vocab_size=400)
    tokens = {name: getattr(tokenizer, f"{name}_id") for name in ("pad_token", "bos_token", "eos_token")}
    policy = new_llama(vocab_size=len(tokenizer), width=32, layers=2, heads=2, context=320, seed=0, **tokens)
    return beside_data.save_start(policy, tokenizer, tmp_path_factory.mktemp("start"), seed=1)


def vowels(prompt: str, answer: str) -> float:
    """A reward with spread even for a model that has learned nothing."""
    return sum(letter in "aeiou" for letter in answer) / (1 + len(answer))


@pytest.fixture(scope="module")
def ours(start):
    """Our side of each method and what it began with; trained once for all of TRL's settings."""

    @cache
    def side(method):
        began = beside_trl.weights_of(beside_trl.loaded(method, start.of(method))[0])
        return beside_trl.our_side(method, start.of(method), ROWS[method], SHARED), began

    return side


@pytest.fixture(scope="module")
def drawn(start):
    """The same of GRPO, with its draws."""
    began = beside_trl.weights_of(beside_trl.loaded("grpo", start.policy)[0])
    return *beside_grpo.our_grpo(start.policy, PROMPTS, vowels, shared=GROUPS), began


@pytest.fixture
def beside(start, ours):
    def found(method, **told):
        side, began = ours(method)
        theirs = beside_trl.trl_side(method, start.of(method), ROWS[method], SHARED, told)
        return Beside(side, theirs, began)

    return found


@pytest.fixture
def grpo_beside(start, drawn):
    def found(**told):
        side, draws, began = drawn
        theirs = beside_grpo.trl_replaying(start.policy, PROMPTS, vowels, draws, shared=GROUPS, told=told)
        return Beside(side, theirs, began)

    return found


def the_same(found) -> bool:
    return found.loss_apart < LOSS and found.norm_apart < NORM and found.weights_apart < WEIGHTS


def apart(found) -> str:
    return f"loss {found.loss_apart:.1e}, norm {found.norm_apart:.1e}, weights {found.weights_apart:.1e}"


BESIDE = {
    "sft": beside_trl.sft_beside_trl,
    "reward model": beside_trl.reward_beside_trl,
    "dpo": beside_trl.dpo_beside_trl,
    "kto": beside_trl.kto_beside_trl,
}


@pytest.mark.parametrize("method", BESIDE)
def test_one_curve(start, method):
    found = BESIDE[method](start.of(method), ROWS[method], shared=SHARED)
    assert the_same(found), apart(found)
    assert len(found.ours.loss) == len(found.trl.loss) == len(found.trl.seconds) == 8
    assert found.ours.loss[-1] < found.ours.loss[0] - 0.02  # it learns, so that the end says something
    assert min(*found.ours.seconds, *found.trl.seconds, found.ours.setup, found.trl.setup) > 0


def test_one_curve_of_grpo_on_the_same_answers(start):
    found = beside_grpo.grpo_beside_trl(start.policy, PROMPTS, vowels, shared=GROUPS)
    assert the_same(found), apart(found)
    assert len(found.ours.loss) == GROUPS.config.steps == 6
    assert abs(found.ours.loss[0]) < 1e-6 < 0.01 < abs(found.ours.loss[1])  # ratio one, and no longer


# What a wrong setting of each kind does, on the method where it is quick to see.
WRONG = {
    "decay rate": ("sft", {"adam_beta2": 0.999}),
    "epsilon": ("sft", {"adam_epsilon": 1e-4}),
    "weight decay": ("reward model", {"weight_decay": 0.0}),
    "schedule": ("sft", {"lr_scheduler_type": "constant"}),
    "clipping": ("reward model", {"max_grad_norm": 1.0}),
    "warm-up": ("sft", {"warmup_steps": 2}),
    "order of rows": ("sft", {"train_sampling_strategy": "random"}),
    "β": ("dpo", {"beta": 0.11}),
    "loss": ("dpo", {"loss_type": ["ipo"]}),
    "λ of the undesirable": ("kto", {"undesirable_weight": 1.1}),
    "centred scores": ("reward model", {"center_rewards_coefficient": 0.01}),
}


@pytest.mark.parametrize("setting", WRONG)
def test_a_wrong_setting_parts_them(beside, setting):
    method, told = WRONG[setting]
    found = beside(method, **told)
    assert not the_same(found), apart(found)
    assert found.weights_apart > 5 * WEIGHTS, apart(found)


WRONG_GROUPS = {
    "average": {"loss_type": "dapo"},
    "spread": {"scale_rewards": "none"},
    "ε": {"epsilon": 0.1},
    "gradient of the KL": {"use_bias_correction_kl": True},
    "β": {"beta": 0.06},
}


@pytest.mark.parametrize("setting", WRONG_GROUPS)
def test_a_wrong_setting_of_grpo_parts_them(grpo_beside, setting):
    found = grpo_beside(**WRONG_GROUPS[setting])
    assert not the_same(found), apart(found)


def test_weight_decay_of_every_parameter_parts_them(beside, monkeypatch):
    """By default `transformers` spares normalisations, as our loop does."""
    from transformers import Trainer

    monkeypatch.setattr(
        Trainer,
        "get_decay_parameter_names",
        lambda self, model: [name for name, _ in model.named_parameters()],
    )
    found = beside("sft")
    assert not the_same(found), apart(found)


def test_two_micro_batches_are_one_batch_in_sft_and_not_a_mean_of_means(beside):
    """TRL divides by the tokens of all micro-batches of a step: half the batch, twice, is the same step."""
    found = beside("sft", per_device_train_batch_size=4, gradient_accumulation_steps=2)
    assert the_same(found), apart(found)


def test_another_reward_is_noticed_at_the_first_draw(start, drawn):
    with pytest.raises(AssertionError, match="the rewards differ"):
        beside_grpo.trl_replaying(start.policy, PROMPTS, lambda prompt, answer: 1.0, drawn[1], shared=GROUPS)


def test_trl_draws_for_itself(start):
    """For seconds and memory; its answers are others, so that only the number of steps is the same."""
    side = beside_grpo.trl_drawing(start.policy, PROMPTS, vowels, shared=GROUPS)
    assert len(side.loss) == GROUPS.config.steps
    assert all(weight.isfinite().all() for weight in side.weights.values())


def test_a_schedule_that_trl_cannot_be_told_is_refused():
    for change in ({"warmup_steps": 3}, {"final_fraction": 0.1}):
        with pytest.raises(ValueError, match="both sides can be told no warm-up"):
            Shared(optimizer=OptimizerConfig(learning_rate=1e-3, **change))


def test_rows_of_another_method_are_refused(start):
    with pytest.raises(ValueError, match="method must be one of sft, reward model, dpo, kto; got 'ppo'"):
        beside_trl.our_side("ppo", start.policy, ROWS["sft"], SHARED)


def test_models_of_other_parameters_have_no_distance():
    with pytest.raises(ValueError, match="the parameters differ"):
        beside_trl.distance({"a": torch.zeros(2)}, {"b": torch.zeros(2)})
