"""Every method on models that are not ours: it learns, says what it did, and what it saves loads again."""

import json

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from rlhf_mini.data.pretrained import load_causal_lm
from rlhf_mini.models.adapters import load_adapters
from rlhf_mini.real import training
from rlhf_mini.real.settings import METHODS, LoRA, Settings
from rlhf_mini.real.training import train
from tests.real.small import STORIES, rows_for, write

FAST = {"batch": 8, "steps": 6, "learning_rate": 1e-2, "max_new_tokens": 8, "group": 4, "held_out": 8}
TOKENS = torch.arange(5, 25)[None]
KINDS = {"pretrain": "llama", "sft": "neox", "reward": "qwen2", "dpo": "neox", "kto": "qwen2", "orpo": "neox"}


def quiet(line):
    """Nobody listens."""


@pytest.fixture
def data(tmp_path):
    """``data("dpo")`` is a file of rows for the method."""

    def data(method):
        if method == "pretrain":
            (tmp_path / "text.txt").write_text("\n".join(STORIES * 60), encoding="utf-8")
            return tmp_path / "text.txt"
        return write(tmp_path, rows_for(method))

    return data


@pytest.fixture
def in_memory(monkeypatch):
    """The logits and the state of the model as it was just before it was saved."""
    seen = {}
    save = training._save

    def watched(part, model, *rest):
        model.eval()
        with torch.no_grad():
            seen["logits"] = model(TOKENS).logits
        seen["state"] = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        save(part, model, *rest)

    monkeypatch.setattr(training, "_save", watched)
    return seen


def log_of(trained):
    return [json.loads(line) for line in (trained.folder / "log.jsonl").read_text().splitlines()]


def logits_of(model):
    with torch.no_grad():
        return model.eval()(TOKENS).logits


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("method", KINDS)
def test_a_method_learns_and_its_folder_loads_as_it_was(saved, data, tmp_path, in_memory, method):
    settings = Settings(**FAST, max_length=32 if method == "pretrain" else None)
    source, base = data(method), saved(KINDS[method])
    trained = train(method, base, source, tmp_path / "out", settings=settings, tell=quiet)
    log = log_of(trained)
    assert [entry["step"] for entry in log] == list(range(1, 7))
    assert log[-1]["loss"] < log[0]["loss"]
    if "loss" in trained.after:
        assert trained.after["loss"] < trained.before["loss"]
    family = AutoModelForSequenceClassification if method == "reward" else AutoModelForCausalLM
    again = family.from_pretrained(trained.folder)
    assert torch.equal(logits_of(again), in_memory["logits"])
    assert AutoTokenizer.from_pretrained(trained.folder).get_vocab() == load_causal_lm(base)[1].get_vocab()
    results = json.loads((trained.folder / "results.json").read_text())
    assert (results["method"], results["after"]) == (method, trained.after)
    assert not (tmp_path / "out.part").exists()


def test_dpo_begins_at_log_2_and_a_reward_model_has_a_scale(saved, data, tmp_path):
    settings = Settings(**FAST)
    dpo = train("dpo", saved("qwen2"), data("dpo"), tmp_path / "dpo", settings=settings, tell=quiet)
    assert dpo.before["loss"] == pytest.approx(0.693147, abs=1e-4)
    assert dpo.before["accuracy"] == pytest.approx(0.5, abs=0.5)
    assert dpo.after["accuracy"] == 1.0
    reward = train(
        "reward", saved("neox"), data("reward"), tmp_path / "reward", settings=settings, tell=quiet
    )
    assert reward.after["accuracy"] == 1.0
    model = AutoModelForSequenceClassification.from_pretrained(reward.folder)
    assert model.config.std > 0
    assert model.config.mean != 0


def test_kto_parts_the_desirable_from_the_undesirable(saved, data, tmp_path):
    kto = train("kto", saved("neox"), data("kto"), tmp_path / "kto", settings=Settings(**FAST), tell=quiet)
    names = [f"log-ratio of the {kind}" for kind in ("desirable", "undesirable")]
    assert [kto.before[name] for name in names] == pytest.approx([0, 0], abs=1e-4)
    assert kto.after[names[0]] > kto.after[names[1]]


def test_sft_then_grpo_on_its_folder_finds_the_right_answer(saved, tmp_path):
    """SFT teaches that every answer is #### 7 or #### 8; only the program knows which is right."""
    rows = [
        {"prompt": row["prompt"], "completion": f"#### {7 + place % 2}"}
        for place, row in enumerate(rows_for("sft"))
    ]
    taught = Settings(batch=16, steps=60, learning_rate=1e-2, held_out=4)
    first = train("sft", saved("qwen2"), write(tmp_path, rows), tmp_path / "sft", settings=taught, tell=quiet)
    problems = write(tmp_path, rows_for("grpo"), "problems.jsonl")
    settings = Settings(**{**FAST, "batch": 32, "steps": 20, "learning_rate": 3e-3})
    grpo = train("grpo", first.folder, problems, tmp_path / "grpo", settings=settings, tell=quiet)
    log = log_of(grpo)
    rates = [entry["pass_rate"] for entry in log]
    assert 0.1 < rates[0] < 0.9
    assert sum(rates[-3:]) / 3 > max(0.8, rates[0] + 0.1)
    assert grpo.after["pass@1"] >= grpo.before["pass@1"]
    assert grpo.after["kl"] > grpo.before["kl"] == pytest.approx(0, abs=1e-4)
    assert torch.isfinite(logits_of(AutoModelForCausalLM.from_pretrained(grpo.folder))).all()


def test_reward_then_ppo_against_it(saved, data, tmp_path, in_memory):
    base, settings = saved("qwen2"), Settings(**{**FAST, "learning_rate": 3e-3})
    reward = train("reward", base, data("reward"), tmp_path / "reward", settings=settings, tell=quiet)
    trained = train(
        "ppo", base, data("ppo"), tmp_path / "ppo", settings=settings, reward_model=reward.folder, tell=quiet
    )
    log = log_of(trained)
    assert len(log) == 6
    assert {"loss", "score", "kl_k3", "entropy", "value_loss"} <= set(log[0])
    assert log[0]["kl_k3"] == pytest.approx(0, abs=1e-4)
    assert trained.after["kl"] > 1e-3
    assert set(trained.after) == {"reward", "kl"}
    again = AutoModelForCausalLM.from_pretrained(trained.folder)
    assert torch.equal(logits_of(again), in_memory["logits"])


def test_ppo_s_reward_is_that_of_the_saved_reward_model(saved, data, tmp_path, monkeypatch):
    base, settings = saved("qwen2"), Settings(**{**FAST, "steps": 1})
    reward = train("reward", base, data("reward"), tmp_path / "reward", settings=settings, tell=quiet)
    seen = []
    judge = training.ppo_against
    monkeypatch.setitem(
        training.WORKS, "ppo", lambda job, base, model: (seen.append(model), judge(job, base, model))[1]
    )
    train("ppo", base, data("ppo"), tmp_path / "p", settings=settings, reward_model=reward.folder, tell=quiet)
    loaded = AutoModelForSequenceClassification.from_pretrained(reward.folder)
    assert (seen[0].config.mean, seen[0].config.std) == (loaded.config.mean, loaded.config.std)
    assert not any(parameter.requires_grad for parameter in seen[0].parameters())


# ------------------------------------------------------------------------------------------------------- LoRA


@pytest.mark.parametrize(("kind", "target"), [("neox", "query_key_value"), ("qwen2", "v_proj")])
def test_lora_changes_its_matrices_and_nothing_else(saved, data, tmp_path, in_memory, kind, target):
    settings = Settings(**FAST, lora=LoRA(rank=2, targets=[target]))
    out = train("sft", saved(kind), data("sft"), tmp_path / "out", settings=settings, tell=quiet)
    assert log_of(out)[-1]["loss"] < log_of(out)[0]["loss"]
    before, after = (AutoModelForCausalLM.from_pretrained(f).state_dict() for f in (saved(kind), out.folder))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.endswith(f".{target}.weight")}
    merged = AutoModelForCausalLM.from_pretrained(out.folder)
    torch.testing.assert_close(logits_of(merged), in_memory["logits"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", ["dpo", "reward"])
def test_adapters_alone_are_small_and_give_the_same_model(saved, data, tmp_path, in_memory, method):
    base = saved("neox")
    settings = Settings(**FAST, lora=LoRA(rank=2, merge=False))
    out = train(method, base, data(method), tmp_path / "out", settings=settings, tell=quiet).folder
    assert not (out / "model.safetensors").exists()
    assert (out / "adapter_model.safetensors").stat().st_size < (
        base / "model.safetensors"
    ).stat().st_size / 2
    config = json.loads((out / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 2, 4)
    assert config["base_model_name_or_path"] == str(base)
    assert config["modules_to_save"] == (["score"] if method == "reward" else None)
    if method == "reward":
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    else:
        model = AutoModelForCausalLM.from_pretrained(base)
    model.config.pad_token_id = AutoTokenizer.from_pretrained(out).pad_token_id
    assert not torch.equal(logits_of(model), in_memory["logits"])
    load_adapters(model, out)
    torch.testing.assert_close(logits_of(model), in_memory["logits"], atol=1e-5, rtol=1e-5)


# ------------------------------------------------------------------------------------- precision and memory


def losses(trained):
    return [entry["loss"] for entry in log_of(trained)]


def test_autocast_in_bfloat16_keeps_float32_weights_and_learns_at_every_step(saved, data, tmp_path):
    """All rows in each batch, so that the loss falls at every step unless weights of before are reused."""
    rows, base = data("sft"), saved("neox")
    full = {"batch": 32, "steps": 5, "learning_rate": 2e-3, "held_out": 8}
    plain, cast = (
        train("sft", base, rows, tmp_path / name, settings=Settings(**full, bf16=bf16), tell=quiet)
        for name, bf16 in (("plain", False), ("cast", True))
    )
    assert losses(cast) == sorted(losses(cast), reverse=True)
    assert losses(cast) != losses(plain)
    assert losses(cast) == pytest.approx(losses(plain), rel=0.02)
    model = AutoModelForCausalLM.from_pretrained(cast.folder, dtype="auto")
    assert model.dtype is torch.float32


def test_weights_in_bfloat16_lose_small_steps_and_that_is_said(saved, data, tmp_path):
    told, moved, rows = [], {}, data("sft")
    for dtype in (torch.float32, torch.bfloat16):
        settings = Settings(**{**FAST, "learning_rate": 1e-7}, dtype=dtype)
        out = train("sft", saved("neox"), rows, tmp_path / str(dtype), settings=settings, tell=told.append)
        after = AutoModelForCausalLM.from_pretrained(out.folder, dtype="auto")
        before = AutoModelForCausalLM.from_pretrained(saved("neox"), dtype=dtype)
        assert after.dtype is dtype
        pairs = zip(before.gpt_neox.layers.parameters(), after.gpt_neox.layers.parameters(), strict=True)
        shares = [(one != other).float().mean() for one, other in pairs if one.ndim == 2]
        moved[dtype] = float(torch.stack(shares).mean())
    assert moved[torch.float32] > 0.9
    assert moved[torch.bfloat16] < 0.1
    assert sum("steps below 1/512 of a weight are rounded away" in line for line in told) == 1


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_checkpoints_and_few_rows_at_once_give_the_same_training(saved, data, tmp_path, method):
    rows, base, tries = data(method), saved("qwen2"), {}
    for name, more in {
        "plain": {},
        "layers": {"checkpoint_activations": True},
        "rows": {"rows_at_once": 3},
        "both": {"checkpoint_activations": True, "rows_at_once": 3},
    }.items():
        settings = Settings(**{**FAST, "learning_rate": 1e-3}, **more)
        tries[name] = losses(train(method, base, rows, tmp_path / name, settings=settings, tell=quiet))
    for name in ("layers", "rows", "both"):
        assert tries[name] == pytest.approx(tries["plain"], rel=1e-4), name


# ------------------------------------------------------------------------------------------- what it leaves


def test_what_is_told_and_the_card(saved, data, tmp_path):
    told = []
    settings = Settings(**FAST, lora=LoRA(rank=4), max_length=60)
    out = train("orpo", saved("neox"), data("orpo"), tmp_path / "out", settings=settings, tell=told.append)
    assert told[0] == "odds-ratio preference optimisation on cpu"
    assert told[1].startswith("32 rows to learn from, 8 held out")
    assert any(line.startswith("at least ") and "activations" in line for line in told)
    assert any(line.startswith("6 steps, at most 16 sequences of ") for line in told)
    assert any(line.startswith("trained in ") for line in told)
    assert any(line.startswith("accuracy ") and "on the rows held out" in line for line in told)
    card = (out.folder / "README.md").read_text("utf-8")
    front = yaml.safe_load(card.split("---")[1])
    assert front["base_model"] == saved("neox").name
    assert front["datasets"] == ["rows.jsonl"]
    assert str(tmp_path) not in card
    assert "LoRA of rank 4, α = 8" in card


def test_rows_beyond_max_length_are_left_out_and_counted(saved, tmp_path):
    rows = rows_for("sft")
    rows[3] = {**rows[3], "completion": "word " * 40}
    told = []
    settings = Settings(**FAST, max_length=40)
    source = write(tmp_path, rows)
    train("sft", saved("neox"), source, tmp_path / "out", settings=settings, tell=told.append)
    assert told[1] == "32 rows to learn from, 7 held out, 1 longer than 40 tokens left out"


def test_epochs_and_steps_count_as_they_say(saved, data, tmp_path):
    rows = data("sft")
    for name, given, expected in (("e", {"steps": None, "epochs": 2}, 8), ("s", {"steps": 7}, 7)):
        settings = Settings(**{**FAST, **given})
        out = train("sft", saved("neox"), rows, tmp_path / name, settings=settings, tell=quiet)
        assert len(log_of(out)) == out.plan.steps == expected


def test_an_interrupted_training_leaves_its_log_and_no_model(saved, data, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "_save", interrupted)
    rows, settings = data("sft"), Settings(**FAST)
    with pytest.raises(KeyboardInterrupt):
        train("sft", saved("neox"), rows, tmp_path / "out", settings=settings, tell=quiet)
    assert not (tmp_path / "out").exists()
    assert len((tmp_path / "out.part" / "log.jsonl").read_text().splitlines()) == 6
    monkeypatch.undo()
    train("sft", saved("neox"), rows, tmp_path / "out", settings=settings, tell=quiet)
    assert len((tmp_path / "out" / "log.jsonl").read_text().splitlines()) == 6


def test_the_same_seed_gives_the_same_model_and_the_program_s_own_numbers_stay(saved, data, tmp_path):
    rows, settings = data("sft"), Settings(**FAST)
    state = torch.get_rng_state()
    folders = [
        train("sft", saved("neox"), rows, tmp_path / name, settings=settings, tell=quiet).folder
        for name in ("one", "two")
    ]
    assert torch.equal(torch.get_rng_state(), state)
    one, two = ((folder / "model.safetensors").read_bytes() for folder in folders)
    assert one == two


def test_every_method_that_is_offered_is_known():
    assert list(METHODS) == list(training.WORKS)
