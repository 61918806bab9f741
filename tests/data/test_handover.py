"""What is handed over loads again, has the columns that are asked for, and TRL trains on it."""

import ast
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from rlhf_mini.data.chat import pack_texts
from rlhf_mini.data.handover import (
    COLUMNS,
    EXTRAS,
    OPENRLHF_OPTIONS,
    hand_over_model,
    hand_over_reward_model,
    hand_over_rows,
    require_package,
    verifier_for_trl,
)
from rlhf_mini.data.preferences import Preference
from rlhf_mini.data.tokenizer import train_tokenizer
from rlhf_mini.models import new_llama, new_reward_model, new_value_model
from rlhf_mini.models.lora import add_lora, merge_lora

WORDS = ["Name a fox.", "Finn.", "No.", "What is 2 + 2?", "#### 4"]
PREFERENCES = [
    {"prompt": "Name a fox.", "chosen": "Finn.", "rejected": "No.", "margin": 1.0},
    {"prompt": "What is 2 + 2?", "chosen": "#### 4", "rejected": "No.", "margin": 0.5},
]
UNPAIRED = [
    {"prompt": row["prompt"], "completion": row[side], "label": side == "chosen"}
    for row in PREFERENCES
    for side in ("chosen", "rejected")
]
PROBLEMS = [{"prompt": "What is 2 + 2?", "answer": "4", "solution": "#### 4"}] * 4


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(WORDS, vocab_size=280)


@pytest.fixture
def policy(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    tokens = {"pad_token": 0, "bos_token": 1, "eos_token": 2}
    sizes = {"width": 16, "layers": 1, "heads": 2, "context": 64}
    return new_llama(vocab_size=len(tokenizer), **sizes, **tokens, seed=0).eval()


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def said(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


# ----------------------------------------------------------------------------------------------------- models


def test_a_policy_comes_back_bit_by_bit(tmp_path: Path, policy, tokenizer) -> None:
    folder = hand_over_model(policy, tokenizer, tmp_path / "new" / "policy")
    assert {path.suffix for path in folder.iterdir()} <= {".json", ".safetensors", ".jinja"}
    assert [path.name for path in folder.parent.iterdir()] == ["policy"]
    again, its_tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    batch = pack_texts(its_tokenizer, ["Name a fox."], ["Finn."])
    assert torch.equal(again.eval()(batch.tokens).logits, policy(batch.tokens).logits)
    assert its_tokenizer.chat_template == tokenizer.chat_template
    assert its_tokenizer.pad_token_id == again.config.pad_token_id == 0


def test_a_reward_model_brings_what_openrlhf_looks_for(tmp_path: Path, policy, tokenizer) -> None:
    reward_model = new_reward_model(policy, seed=1).eval()
    reward_model.config.mean, reward_model.config.std = 0.5, 2.0
    folder = hand_over_reward_model(reward_model, tokenizer, tmp_path / "reward")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert (config["value_head_prefix"], config["mean"], config["std"]) == ("score", 0.5, 2.0)
    assert not hasattr(reward_model.config, "value_head_prefix")  # ours is left as it was
    again = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    batch = pack_texts(tokenizer, ["Name a fox.", "Hi"], ["Finn.", "No."])
    inputs = {"input_ids": batch.tokens, "attention_mask": batch.mask.long()}
    assert torch.equal(again(**inputs).logits, reward_model(**inputs).logits)
    untouched = new_reward_model(policy, seed=1)
    hand_over_reward_model(untouched, tokenizer, tmp_path / "plain")
    config = json.loads((tmp_path / "plain/config.json").read_text("utf-8"))
    assert (config["mean"], config["std"]) == (0.0, 1.0)


def test_traps_are_refused_before_anything_is_written(tmp_path: Path, policy, tokenizer) -> None:
    def refused(message: str, **changed: Any) -> None:
        with pytest.raises(ValueError, match=message):
            hand_over_model(changed.get("model", policy), changed.get("tokenizer", tokenizer), tmp_path / "f")
        assert not (tmp_path / "f").exists()

    policy.config.pad_token_id = 5
    refused("the configuration has pad_token_id 5 and the tokenizer 0: set model.config.pad_token_id = 0")
    policy.config.pad_token_id = 0
    padless = train_tokenizer(WORDS, vocab_size=280)
    padless.pad_token = padless.eos_token
    refused("pad token is 2 and its end token 2; a trainer needs a pad token of its own", tokenizer=padless)
    larger = train_tokenizer(WORDS, vocab_size=290)
    larger.add_tokens([f"new{number}" for number in range(40)])
    refused("they do not belong together", tokenizer=larger)
    add_lora(policy, rank=1, alpha=1, generator=torch.Generator().manual_seed(0))
    refused("low-rank changes that were not merged: call merge_lora")
    merge_lora(policy)
    hand_over_model(policy, tokenizer, tmp_path / "f")
    with pytest.raises(ValueError, match="is already there; give a new folder"):
        hand_over_model(policy, tokenizer, tmp_path / "f")


def test_a_value_model_is_no_reward_model(tmp_path: Path, policy, tokenizer) -> None:
    with pytest.raises(ValueError, match="has a bias, which is a value model's"):
        hand_over_reward_model(new_value_model(new_reward_model(policy, seed=1)), tokenizer, tmp_path / "f")
    with pytest.raises(ValueError, match="expected one linear layer with one output"):
        hand_over_reward_model(policy, tokenizer, tmp_path / "f")


# ------------------------------------------------------------------------------------------------------- rows


def test_rows_become_messages_under_a_template(tmp_path: Path, tokenizer) -> None:
    file = hand_over_rows(PREFERENCES, tokenizer, tmp_path / "a/rows.jsonl", trainer="trl.RewardTrainer")
    assert read(file)[0] == {
        "prompt": said("user", "Name a fox."),
        "chosen": said("assistant", "Finn."),
        "rejected": said("assistant", "No."),
        "margin": 1.0,
    }
    file = hand_over_rows(UNPAIRED, tokenizer, tmp_path / "b.jsonl", trainer="trl.KTOTrainer")
    assert [row["label"] for row in read(file)] == [True, False, True, False]
    file = hand_over_rows(PROBLEMS, tokenizer, tmp_path / "c.jsonl", trainer="trl.GRPOTrainer")
    assert read(file)[0] == {"prompt": said("user", "What is 2 + 2?"), "answer": "4"}


def test_without_a_template_rows_stay_text(tmp_path: Path, tokenizer) -> None:
    tokenizer.chat_template = None
    stream = iter([Preference("Name a fox.", "Finn.", "No.")])
    file = hand_over_rows(stream, tokenizer, tmp_path / "rows.jsonl", trainer="openrlhf.cli.train_rm")
    assert read(file) == [{"prompt": "Name a fox.", "chosen": "Finn.", "rejected": "No."}]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "there are no rows to hand over"),
        ([*PREFERENCES, {"prompt": "a"}], r"row 3: column 'chosen' is missing; the columns are \['prompt'\]"),
        ([{"prompt": "a", "chosen": " ", "rejected": "b"}], "row 1: column 'chosen' must hold text, got ' '"),
        ([{"prompt": 4, "chosen": "a", "rejected": "b"}], "row 1: column 'prompt' must hold text, got 4"),
    ],
)
def test_rows_that_a_trainer_cannot_read(tmp_path: Path, tokenizer, rows: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hand_over_rows(rows, tokenizer, tmp_path / "rows.jsonl", trainer="trl.DPOTrainer")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_trainer(tmp_path: Path, tokenizer) -> None:
    with pytest.raises(ValueError, match=r"trainer must be one of trl.SFTTrainer, .* got 'trl.PPOTrainer'"):
        hand_over_rows(PREFERENCES, tokenizer, tmp_path / "rows.jsonl", trainer="trl.PPOTrainer")


def test_openrlhf_is_told_every_column() -> None:
    for command, options in OPENRLHF_OPTIONS.items():
        assert options[1::2] == COLUMNS[command]
        assert all(option.startswith("--data.") and option.endswith("_key") for option in options[::2])


def test_what_openrlhf_makes_of_the_rows_is_our_token_sequence(tmp_path: Path, tokenizer) -> None:
    """Its reward data set renders prompt and answer with the template, tokenises the text without adding
    special tokens, and appends an end token where there is none."""
    file = hand_over_rows(PREFERENCES, tokenizer, tmp_path / "r.jsonl", trainer="openrlhf.cli.train_rm")
    for handed, row in zip(read(file), PREFERENCES, strict=True):
        text = tokenizer.apply_chat_template(handed["prompt"] + handed["chosen"], tokenize=False).rstrip("\n")
        assert text.endswith(tokenizer.eos_token)  # so that nothing is appended, with a space before it
        ours = pack_texts(tokenizer, [row["prompt"]], [row["chosen"]])
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == ours.tokens[0].tolist()


def test_a_verifier_reads_messages_and_text() -> None:
    reward = verifier_for_trl()
    assert reward(prompts=["?", "?"], completions=["#### 4", "4"], answer=["4", "4"]) == [1.0, 0.0]
    assert reward(completions=[said("assistant", "so\n#### 4")], answer=["4"], label=[None]) == [1.0]


# -------------------------------------------------------------------------------------------------------- TRL


MODULES = ["data.handover", "data.streaming", "data.unpaired", "data.verifiable", "data.instructions"]
MODULES += ["models.footprint", "models.publish", "evaluation.training_cost"]


@pytest.mark.parametrize("module", MODULES)
def test_no_module_needs_an_extra(module: str) -> None:
    source = importlib.util.find_spec(f"rlhf_mini.{module}")
    assert source is not None
    tree = ast.parse(Path(str(source.origin)).read_text("utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name.split(".")[0] for name in imported} & set(EXTRAS)


def test_what_needs_an_extra_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r"peft is not installed; .* pip install 'rlhf-mini\[lora\]'"):
        require_package("peft")


def test_a_package_that_is_there_is_given() -> None:
    assert require_package("json") is json
    with pytest.raises(ImportError, match="nonesuch is not installed: pip install nonesuch"):
        require_package("nonesuch")


needs_trl = pytest.mark.skipif(
    importlib.util.find_spec("trl") is None, reason="TRL is not installed: pip install 'rlhf-mini[bridge]'"
)


@pytest.fixture
def handed(tmp_path: Path, policy, tokenizer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with policy, reward model and the rows of every trainer of TRL."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    hand_over_model(policy, tokenizer, tmp_path / "policy")
    hand_over_reward_model(new_reward_model(policy, seed=1), tokenizer, tmp_path / "reward")
    rows = {"SFT": UNPAIRED, "Reward": PREFERENCES, "DPO": PREFERENCES, "KTO": UNPAIRED, "GRPO": PROBLEMS}
    for name, some in rows.items():
        hand_over_rows(some, tokenizer, tmp_path / f"{name}.jsonl", trainer=f"trl.{name}Trainer")
    return tmp_path


def settings(handed: Path, batch: int) -> dict[str, Any]:
    return {
        "output_dir": str(handed / "out"), "report_to": "none", "use_cpu": True, "bf16": False,
        "max_steps": 1, "per_device_train_batch_size": batch, "save_strategy": "no",
        "gradient_checkpointing": False, "disable_tqdm": True, "learning_rate": 1e-3,
    }  # fmt: skip


def rows_of(handed: Path, name: str) -> datasets.Dataset:
    return datasets.load_dataset("json", data_files=str(handed / f"{name}.jsonl"), split="train")


def trained(trainer: Any) -> bool:
    """Whether one step changed the weights and left them finite."""
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    trainer.train()
    after = [parameter.detach() for parameter in trainer.model.parameters()]
    finite = all(parameter.isfinite().all() for parameter in after)
    return finite and any(not torch.equal(*pair) for pair in zip(before, after, strict=True))


@needs_trl
@pytest.mark.bridge
@pytest.mark.slow  # TRL takes seconds to import
def test_trl_trains_on_our_tokens_and_no_others(handed: Path, tokenizer) -> None:
    """SFT: the ids and the counted positions are those of `pack_texts`, the chat tokens included."""
    from trl import SFTConfig, SFTTrainer

    trainer = SFTTrainer(
        str(handed / "policy"),
        args=SFTConfig(**settings(handed, 4), max_length=64),
        train_dataset=rows_of(handed, "SFT"),
    )
    batch = next(iter(trainer.get_train_dataloader()))
    ours = pack_texts(tokenizer, [r["prompt"] for r in UNPAIRED], [r["completion"] for r in UNPAIRED])
    theirs = {
        (tuple(ids[mask.bool()].tolist()), tuple((labels[mask.bool()] != -100).tolist()))
        for ids, mask, labels in zip(
            batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True
        )
    }
    assert theirs == {
        (tuple(ids[mask].tolist()), tuple(counts[mask].tolist()))
        for ids, mask, counts in zip(ours.tokens, ours.mask, ours.response, strict=True)
    }
    assert trained(trainer)


@needs_trl
@pytest.mark.bridge
@pytest.mark.slow
def test_trl_trains_on_pairs_and_labels(handed: Path) -> None:
    from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, RewardConfig, RewardTrainer

    folder = str(handed / "policy")
    assert trained(
        DPOTrainer(
            folder,
            args=DPOConfig(**settings(handed, 2), max_length=64),
            train_dataset=rows_of(handed, "DPO"),
        )
    )
    assert trained(
        KTOTrainer(
            folder, args=KTOConfig(**settings(handed, 4), max_length=64), train_dataset=rows_of(handed, "KTO")
        )
    )
    reward_trainer = RewardTrainer(
        str(handed / "reward"),
        args=RewardConfig(**settings(handed, 2), max_length=64),
        train_dataset=rows_of(handed, "Reward"),
    )
    assert "margin" in next(iter(reward_trainer.get_train_dataloader()))
    assert trained(reward_trainer)


@needs_trl
@pytest.mark.bridge
@pytest.mark.slow
def test_trl_scores_with_our_reward_model_and_our_verifier(handed: Path) -> None:
    """GRPO with a reference, which it loads again by name, a reward model by folder, and a function."""
    from trl import GRPOConfig, GRPOTrainer

    scores: list[float] = []

    def verifier(**given: Any) -> list[float]:
        scores.extend(verifier_for_trl()(**given))
        return scores[-len(given["completions"]) :]

    trainer = GRPOTrainer(
        str(handed / "policy"),
        reward_funcs=[str(handed / "reward"), verifier],
        args=GRPOConfig(**settings(handed, 4), num_generations=4, max_completion_length=8, beta=0.1),
        train_dataset=rows_of(handed, "GRPO"),
    )
    assert trained(trainer)
    assert len(scores) == 4
