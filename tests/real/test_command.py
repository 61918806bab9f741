"""`rlhf-mini train` as a reader calls it: one line for each mistake, before any work is lost."""

import json
import re
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlhf_mini.cli import main
from rlhf_mini.data.tokenizer import train_tokenizer
from rlhf_mini.real import ready, training
from rlhf_mini.real.options import METHODS as OFFERED
from rlhf_mini.real.settings import METHODS
from tests.real.small import STORIES, rows_for, save, write

SHAKESPEARE = Path(__file__).parents[3] / "shared" / "data" / "tiny_shakespeare.txt"
FAST = ("--batch", 8, "--steps", 3, "--learning-rate", 1e-3, "--held-out", 8)


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    """Runs a command; returns its status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse
            status = stop.code
        told = capsys.readouterr()
        return status, told.out, told.err

    return command


@pytest.fixture
def rows(tmp_path):
    return write(tmp_path, rows_for("sft"))


def mistake(told):
    """The message of a mistake: one line, status 2, and nothing was told before it."""
    status, out, err = told
    assert status == 2
    assert out == ""
    assert err.startswith("rlhf-mini: ")
    assert err.count("\n") == 1
    return err


def test_a_model_is_trained_saved_and_announced(command, saved, rows):
    status, out, err = command(
        "train", "sft", "--base-model", saved("neox"), "--data", rows, "--out", "mine", *FAST,
        "--lora", 2, "--lora-targets", "dense", "--rows-at-once", 4, "--checkpoint-activations", "--bf16",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == "the model, its card, log.jsonl and results.json are in mine"
    assert {path.name for path in Path("mine").iterdir()} >= {
        "config.json", "model.safetensors", "tokenizer.json", "README.md", "log.jsonl", "results.json",
    }  # fmt: skip
    settings = json.loads(Path("mine/results.json").read_text())["settings"]
    assert settings["lora"] == {"rank": 2, "alpha": None, "targets": ["dense"], "merge": True}
    assert (settings["bf16"], settings["rows_at_once"], settings["steps"]) == (True, 4, 3)
    AutoModelForCausalLM.from_pretrained("mine")


def test_a_dry_run_loads_no_weight_and_writes_nothing(command, saved, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "load_causal_lm", None)
    status, out, err = command(
        "train", "sft", "--base-model", saved("neox"), "--data", rows, "--dry-run", *FAST
    )
    assert (status, err) == (0, "")
    assert out.startswith("supervised fine-tuning\n")
    assert "of memory: weights" in out
    assert "3 steps, at most 8 sequences" in out
    assert [*tmp_path.iterdir()] == [rows]


def test_both_tables_of_methods_are_the_same():
    assert tuple(METHODS) == OFFERED


@pytest.mark.skipif(
    not SHAKESPEARE.is_file(), reason="the folder ../shared/data with the real text is absent"
)
def test_real_text_is_learned_from(command, saved):
    status, _, err = command(
        "train", "pretrain", "--base-model", saved("qwen2"), "--data", SHAKESPEARE, "--out", "mine",
        "--batch", 16, "--steps", 30, "--learning-rate", 1e-2, "--max-length", 32, "--held-out", 32,
    )  # fmt: skip
    assert (status, err) == (0, "")
    results = json.loads(Path("mine/results.json").read_text())
    assert results["after"]["loss"] < results["before"]["loss"] - 0.5


# --------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("method", "more", "message"),
    [
        ("rlhf", [], "unknown method 'rlhf': choose one of pretrain, sft, reward, dpo"),
        ("ppo", [], "PPO needs a reward model"),
        ("sft", ["--reward-model", "x"], "sft reads no reward model; only ppo does"),
        ("sft", ["--lora", 0], "LoRA needs a rank of at least 1"),
        ("sft", ["--lora", 99], "rank must be from 1 to 32, the smallest side of a weight; got 99"),
        ("sft", ["--lora", 2, "--lora-targets", "q_proj"], "is called q_proj; choose the targets from query"),
        ("sft", ["--lora-alpha", 2], "--lora-alpha needs --lora RANK"),
        ("sft", ["--adapters-only"], "--adapters-only needs --lora RANK"),
        ("sft", ["--batch", 0], "batch must be at least 1, got 0"),
        ("sft", ["--batch", 64], "39 rows to learn from .* do not fill one batch of 64"),
        ("sft", ["--rows-at-once", 0], "rows_at_once must be at least 1, got 0"),
        ("sft", ["--learning-rate", 0], "learning_rate must be finite and above 0, got 0.0"),
        ("sft", ["--max-length", 4], "0 of 40 rows are left, too few"),
        ("sft", ["--max-length", 65], "max_length is 65 tokens, and the model's context 64"),
        ("grpo", ["--batch", 12], "GRPO's batch is of answers, 8 to a prompt: 12 is no multiple"),
        ("grpo", ["--group", 1], "group must be at least 2, got 1"),
        ("grpo", [], r"rows.jsonl, row 1: column 'answer' is missing"),
        ("kto", ["--batch", 1], "KTO compares the answers of a batch"),
        ("kto", [], r"rows.jsonl, row 1: column 'label' is missing"),
        ("dpo", [], r"rows.jsonl, row 1: column 'chosen' is missing"),
        ("pretrain", [], r"rows.jsonl, row 1: column 'text' is missing"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(command, saved, rows, method, more, message):
    given = ("--base-model", saved("neox"), "--data", rows, "--out", "mine", "--held-out", 1)
    assert re.search(message, mistake(command("train", method, *given, *more)))
    assert not Path("mine").exists()
    assert not Path("mine.part").exists()


@pytest.mark.parametrize("missing", ["--base-model", "--data", "--out"])
def test_what_is_missing_is_asked_for(command, saved, rows, missing):
    given = {"--base-model": saved("neox"), "--data": rows, "--out": "mine"}
    del given[missing]
    status, out, err = command("train", "sft", *[part for pair in given.items() for part in pair])
    assert (status, out) == (2, "")
    assert missing in err


def test_rows_that_cannot_be_used_are_named(command, saved, tmp_path):
    rows = rows_for("sft")
    rows[4] = {**rows[4], "completion": "long " * 80}
    base = ("--base-model", saved("neox"), "--out", "mine")
    told = mistake(command("train", "sft", *base, "--data", write(tmp_path, rows)))
    assert "rows.jsonl, row 5: " in told
    assert "exceed the model's context of 64. Leave longer rows out with max_length=64" in told
    rows[4] = {**rows[4], "completion": ""}
    told = mistake(command("train", "sft", *base, "--data", write(tmp_path, rows)))
    assert "rows.jsonl, row 5: column 'completion' is empty" in told
    rows[4] = {"prompt": "Say <|end|> now.", "completion": "No."}
    told = mistake(command("train", "sft", *base, "--data", write(tmp_path, rows)))
    assert "rows.jsonl, row 5: the prompt 'Say <|end|> now.' spells the control token" in told
    assert "gone.jsonl does not exist" in mistake(command("train", "sft", *base, "--data", "gone.jsonl"))


def test_prompts_without_room_for_an_answer(command, saved, tmp_path):
    source = write(tmp_path, rows_for("grpo"))
    told = mistake(command("train", "grpo", "--base-model", saved("neox"), "--data", source, "--out", "mine"))
    assert "tokens and 128 new ones exceed the model's context of 64" in told


def test_kto_needs_room_for_answers_behind_other_prompts(command, saved, tmp_path):
    rows = rows_for("kto")
    rows[0] = {**rows[0], "prompt": "Mara the owl lost a blue boat. " * 3, "completion": "No."}
    rows[1] = {**rows[1], "completion": "Mara the owl lost a blue boat. " * 3}
    told = mistake(
        command("train", "kto", "--base-model", saved("neox"), "--data", write(tmp_path, rows), "--out", "m")
    )
    assert "KTO puts answers behind other prompts" in told


def test_a_folder_that_is_not_empty_stays_as_it_is(command, saved, rows, tmp_path):
    given = ("--base-model", saved("neox"), "--data", rows)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    assert "full is there already and not empty" in mistake(command("train", "sft", *given, "--out", "full"))
    (tmp_path / "new.part").mkdir()
    (tmp_path / "new.part" / "thesis.txt").write_text("mine")
    assert "new.part is in the way" in mistake(command("train", "sft", *given, "--out", "new"))
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine"
    assert (tmp_path / "new.part" / "thesis.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert command("train", "sft", *given, "--out", "empty", *FAST)[0] == 0
    assert (tmp_path / "empty" / "model.safetensors").is_file()


def test_tokenizers_without_end_or_pad(command, rows, tmp_path):
    folder = save("neox", tmp_path / "model")
    tokenizer = train_tokenizer(STORIES * 3, vocab_size=320)
    given = ("train", "sft", "--base-model", folder, "--data", rows, "--out", "mine", *FAST)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(folder)
    assert "the tokenizer has no end token" in mistake(command(*given))
    tokenizer = train_tokenizer(STORIES * 3, vocab_size=320)
    tokenizer.backend_tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    assert command(*given)[0] == 0
    saved_tokenizer = AutoTokenizer.from_pretrained("mine")
    assert saved_tokenizer.pad_token_id not in (None, saved_tokenizer.eos_token_id)


def test_a_model_that_is_not_there(command, rows, tmp_path):
    given = ("--data", rows, "--out", "mine")
    told = mistake(command("train", "sft", "--base-model", "/no/such/model", *given))
    assert "the folder /no/such/model does not exist" in told
    (tmp_path / "nothing").mkdir()
    told = mistake(command("train", "sft", "--base-model", tmp_path / "nothing", *given))
    assert "cannot load a causal language model and its tokenizer" in told


def test_reward_models_that_do_not_fit(command, saved, tmp_path):
    source = write(tmp_path, rows_for("ppo"))
    given = ("train", "ppo", "--base-model", saved("neox"), "--data", source, "--out", "mine")
    given += ("--max-new-tokens", 8)
    assert "has 2 labels; a reward model has one" in mistake(
        command(*given, "--reward-model", saved("qwen2"))
    )
    assert "the folder gone does not exist" in mistake(command(*given, "--reward-model", "./gone"))
    pairs = write(tmp_path, rows_for("reward"), "pairs.jsonl")
    made = command("train", "reward", "--base-model", saved("qwen2"), "--data", pairs, "--out", "r", *FAST)
    assert made[0] == 0
    train_tokenizer(["another text"], vocab_size=262).save_pretrained("r")
    assert "has another vocabulary than the policy" in mistake(command(*given, "--reward-model", "r"))


def test_a_disk_without_room(command, saved, rows, monkeypatch):
    usage = ready.shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(ready.shutil, "disk_usage", lambda folder: usage)
    told = mistake(
        command("train", "sft", "--base-model", saved("neox"), "--data", rows, "--out", "mine", *FAST)
    )
    assert "free some space, or write to another disk" in told
