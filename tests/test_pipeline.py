"""The pipeline: what a key depends on, that stages are built once, that neither damage nor kills show."""

import dataclasses
import json
import multiprocessing
import os
import random
import re
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, GPTNeoXConfig, GPTNeoXForCausalLM, Qwen2Config, Qwen2ForCausalLM

import rlhf_mini.code_version as versions
import rlhf_mini.pipeline as module
from rlhf_mini.cache import CACHE_VARIABLE, cache_folder
from rlhf_mini.code_version import code_version
from rlhf_mini.pipeline import STAGES, Pipeline, pack_pairs
from rlhf_mini.text_report import report_on_text


def contents(entry: Path) -> dict[str, bytes | list[dict[str, float]]]:
    """Every file of an entry, without what tells the time it took or names the copy."""
    told: dict[str, bytes | list[dict[str, float]]] = {}
    for file in sorted(file for file in entry.rglob("*") if file.is_file()):
        name = file.relative_to(entry).as_posix()
        if file.name == "history.json":
            history = json.loads(file.read_text())
            told[name] = [{key: row[key] for key in row if key != "seconds"} for row in history]
        elif file.name not in ("manifest.json", "state.json"):
            told[name] = file.read_bytes()
    return told


def forbidden(pipeline: Pipeline, folder: Path) -> None:
    raise AssertionError(f"{folder.name} was built again")


def forbid_building(monkeypatch, *, except_for=()):
    for name, stage in STAGES.items():
        if name not in except_for:
            monkeypatch.setitem(STAGES, name, dataclasses.replace(stage, build=forbidden))


@pytest.fixture
def copied(built, miniature, tmp_path):
    """A pipeline with a copy of the built cache, to be damaged."""
    shutil.copytree(built.store.root, tmp_path / "cache")
    return Pipeline(miniature, cache=tmp_path / "cache")


# ------------------------------------------------------------------------------------------------------- keys


def changed(value):
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, int):
        return value + 1
    if isinstance(value, dict):
        return {**value, "layers": 7}
    name = "iterations" if hasattr(value, "iterations") else "epochs" if hasattr(value, "epochs") else "steps"
    return dataclasses.replace(value, **{name: getattr(value, name) + 1})


def test_a_stage_is_keyed_by_the_numbers_that_it_and_its_needs_read_and_by_no_other(miniature, tmp_path):
    plain = Pipeline(miniature, cache=tmp_path)
    for field in dataclasses.fields(miniature):
        value = changed(getattr(miniature, field.name))
        other = Pipeline(dataclasses.replace(miniature, **{field.name: value}), cache=tmp_path)
        for stage in STAGES:
            reads = {name for needed in plain.order(stage) for name in STAGES[needed].reads}
            differs = plain.key(stage) != other.key(stage)
            assert differs is (field.name in reads), (field.name, stage)


def test_longer_answers_concern_the_preferences_and_what_follows(miniature, tmp_path):
    plain = Pipeline(miniature, cache=tmp_path)
    other = Pipeline(dataclasses.replace(miniature, max_new_tokens=13), cache=tmp_path)
    differ = [stage for stage in STAGES if plain.key(stage) != other.key(stage)]
    assert differ == ["preferences", "reward_model", "ppo", "ppo_without_kl"]


def test_every_key_changes_with_the_seed(miniature, tmp_path):
    one, other = (Pipeline(miniature, seed=seed, cache=tmp_path) for seed in (0, 1))
    assert all(one.key(stage) != other.key(stage) for stage in STAGES)


def test_every_key_changes_with_the_code(miniature, tmp_path, monkeypatch):
    pipeline = Pipeline(miniature, cache=tmp_path)
    before = {stage: pipeline.key(stage) for stage in STAGES}
    assert before["base"]["code"] == code_version("rlhf_mini.pipeline")
    monkeypatch.setattr(module, "code_version", lambda *modules: "of another day")
    assert all(pipeline.key(stage) != before[stage] for stage in STAGES)


def test_every_key_changes_with_the_text(miniature, tmp_path):
    def pipeline(text):
        (tmp_path / "text.txt").write_text(text)
        return Pipeline(miniature, cache=tmp_path, text=tmp_path / "text.txt")

    one, same, other = (pipeline(letter * 500) for letter in "aab")
    assert all(one.key(stage) == same.key(stage) for stage in STAGES)
    assert all(one.key(stage) != other.key(stage) for stage in STAGES)
    assert all(one.key(stage) != Pipeline(miniature, cache=tmp_path).key(stage) for stage in STAGES)


def test_every_key_changes_with_the_base_model_and_when_it_is_saved_anew(miniature, tmp_path):
    (tmp_path / "mine").mkdir()
    weights = tmp_path / "mine" / "model.safetensors"
    weights.write_bytes(b"one")
    pipeline = Pipeline(miniature, cache=tmp_path, base_model=str(tmp_path / "mine"))
    before = {stage: pipeline.key(stage) for stage in STAGES}
    assert before["base"] != Pipeline(miniature, cache=tmp_path).key("base")
    assert before["base"] != Pipeline(miniature, cache=tmp_path, base_model="some/hub-name").key("base")
    assert {stage: pipeline.key(stage) for stage in STAGES} == before
    weights.write_bytes(b"other")
    assert all(pipeline.key(stage) != before[stage] for stage in STAGES)


def test_keys_are_json(built):
    for stage in STAGES:
        key = built.key(stage)
        assert json.loads(json.dumps(key, allow_nan=False)).keys() == key.keys()


def test_every_field_that_a_kept_result_depends_on_changes_its_place(miniature, tmp_path, monkeypatch):
    calls = []

    def experiment(pipeline, *, size):
        """An experiment that counts how often it ran."""
        calls.append((pipeline.seed, size))
        return {"size": size, "pair": (1.5, None)}

    experiment.__module__ = "rlhf_mini.chapters.claims"  # it must stand in the library
    pipeline = Pipeline(miniature, cache=tmp_path)
    assert pipeline.measured(experiment, size=3) == {"size": 3, "pair": [1.5, None]}
    assert pipeline.measured(experiment, size=3) == {"size": 3, "pair": [1.5, None]}
    pipeline.measured(experiment, size=4)
    Pipeline(miniature, seed=1, cache=tmp_path).measured(experiment, size=4)
    Pipeline(dataclasses.replace(miniature, pairs=miniature.pairs + 1), cache=tmp_path).measured(
        experiment, size=4
    )
    monkeypatch.setattr(module, "code_version", lambda *modules: "of another day")
    pipeline.measured(experiment, size=4)
    assert calls == [(0, 3), (0, 4), (1, 4), (0, 4), (0, 4)]


def test_a_result_that_is_not_json_is_refused_and_leaves_nothing(miniature, tmp_path):
    def not_a_number(pipeline):
        return {"loss": float("nan")}

    not_a_number.__module__ = "rlhf_mini.chapters.claims"
    pipeline = Pipeline(miniature, cache=tmp_path)
    with pytest.raises(ValueError, match="JSON"):
        pipeline.measured(not_a_number)
    assert not [path for path in tmp_path.glob("not-a-number-*") if path.is_dir()]


def test_an_experiment_outside_the_library_is_refused(miniature, tmp_path):
    """Its code could not be followed, and an old result would pass for a new one."""

    def mine(pipeline):
        return 1

    mine.__module__ = "__main__"
    with pytest.raises(ValueError, match="__main__"):
        Pipeline(miniature, cache=tmp_path).measured(mine)


@pytest.fixture
def small_library(tmp_path, monkeypatch):
    """A library of a few modules in place of ours, and a way to write in it and ask for a version."""
    (tmp_path / "reader").mkdir()
    (tmp_path / "models").mkdir()
    monkeypatch.setattr(versions, "ROOT", tmp_path)

    for file in ("__init__.py", "loop.py", "reader/__init__.py"):
        (tmp_path / file).write_text("")
    (tmp_path / "models/__init__.py").write_text("from rlhf_mini.models.deep import x")

    def write(file, source):
        (tmp_path / file).write_text(source)
        code_version.cache_clear()
        return code_version("rlhf_mini.loop")

    yield write
    monkeypatch.undo()
    code_version.cache_clear()


def test_the_code_version_ignores_comments_and_docstrings_but_no_code(small_library):
    plain = small_library("loop.py", '"""About."""\n\ndef f(x):\n    """Doc."""\n    return x + 1\n')
    other = '"""Else."""\n\n\ndef f(x):  # so\n    """Other."""\n    return x + 1\n'
    assert small_library("loop.py", other) == plain
    assert small_library("loop.py", other.replace("+ 1", "+ 2")) != plain
    assert small_library("loop.py", other) == plain


def test_the_code_version_follows_imports_and_nothing_else(small_library):
    source = "from rlhf_mini import models\nfrom rlhf_mini.reader import plots\nimport torch\n"
    small_library("models/deep.py", "x = 1")
    plain = small_library("loop.py", source)
    assert small_library("apart.py", "y = 1\n") == plain
    assert small_library("reader/plots.py", "y = 1\n") == plain
    assert small_library("models/deep.py", "x = 2") != plain
    assert small_library("models/deep.py", "x = 1") == plain
    assert small_library("models/__init__.py", "from rlhf_mini.models.deep import x\ny = 1") != plain


def test_a_list_of_names_is_followed_only_to_the_names_that_are_imported(small_library):
    """A new name in a package that lists its modules' names changes no result that does not use it."""
    small_library("models/deep.py", "x = 1")
    small_library("models/wide.py", "z = 1")
    plain = small_library("loop.py", "from rlhf_mini.models import x\n")
    longer = '"""Models."""\nfrom rlhf_mini.models.deep import x\nfrom rlhf_mini.models.wide import z\n'
    assert small_library("models/__init__.py", f"{longer}__all__ = ['x', 'z']\n") == plain
    assert small_library("models/wide.py", "z = 2") == plain
    assert small_library("models/deep.py", "x = 2") != plain
    small_library("models/deep.py", "x = 1")
    assert small_library("models/__init__.py", f"{longer}x = 3\n") != plain  # it does more than list
    small_library("models/__init__.py", longer)
    renamed = small_library("loop.py", "from rlhf_mini.models import z\n")
    assert small_library("models/wide.py", "z = 3") != renamed


def test_an_import_inside_a_function_is_followed_too(small_library):
    small_library("apart.py", "y = 1\n")
    plain = small_library("loop.py", "def f():\n    import rlhf_mini.apart\n")
    assert small_library("apart.py", "y = 2\n") != plain


def test_the_code_version_of_an_unknown_module_is_refused():
    with pytest.raises(ValueError, match=r"no module 'rlhf_mini\.nothing'"):
        code_version("rlhf_mini.nothing")


# ----------------------------------------------------------------------------------------------------- stages


def test_order_names_what_a_stage_needs_before_it(built):
    assert built.order("tokenizer") == ["tokenizer"]
    assert built.order("reward_model") == ["tokenizer", "base", "sft", "preferences", "reward_model"]
    assert [*STAGES] == [*built.order("ppo"), "ppo_without_kl"]
    for stage in STAGES:
        order = built.order(stage)
        assert order[-1] == stage
        assert len(set(order)) == len(order)
        assert all(order.index(need) < order.index(name) for name in order for need in STAGES[name].needs)


def test_a_built_stage_is_not_built_again(built, monkeypatch):
    forbid_building(monkeypatch)
    again = Pipeline(built.profile, cache=built.store.root)
    for stage in STAGES:
        assert again.is_built(stage)
        assert again.get(stage) == built.get(stage)


def test_an_unknown_stage_is_refused_with_the_known_ones(built):
    message = "unknown stage 'rlhf': choose one of tokenizer, base, sft, preferences, reward_model, ppo"
    with pytest.raises(ValueError, match=message):
        built.get("rlhf")


def test_stages_built_together_equal_those_built_in_turn(built, miniature, tmp_path, monkeypatch):
    shutil.copytree(built.store.root, tmp_path / "cache")
    pipeline = Pipeline(miniature, cache=tmp_path / "cache")
    for stage in ("ppo", "ppo_without_kl"):
        shutil.rmtree(pipeline.get(stage))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)  # whatever this machine has: two processes
    pipeline.build("sft", "ppo", "ppo_without_kl")
    for stage in ("ppo", "ppo_without_kl"):
        assert pipeline.is_built(stage)
        assert contents(pipeline.get(stage)) == contents(built.get(stage))


def test_building_together_builds_what_is_needed_first(miniature, tmp_path):
    pipeline = Pipeline(miniature, cache=tmp_path)
    pipeline.build("base")
    assert [stage for stage in STAGES if pipeline.is_built(stage)] == ["tokenizer", "base"]


def test_stages_can_be_read_back(built, miniature):
    tokenizer, policy, reward_model = built.tokenizer(), built.policy("sft"), built.reward_model()
    assert policy.config.vocab_size == len(tokenizer) <= miniature.vocab_size
    for model in (policy, reward_model):
        assert not model.training
        assert not any(parameter.requires_grad for parameter in model.parameters())
    assert reward_model.config.std != 1
    for split, count in (("train", miniature.pairs), ("test", miniature.test_pairs)):
        preferences = built.preferences(split)
        assert len(preferences) == count
        pairs = pack_pairs(tokenizer, preferences)
        assert len(pairs) == count
        ends = pairs.chosen.tokens.gather(1, pairs.chosen.lengths[:, None] - 1)
        assert (ends == tokenizer.eos_token_id).all()
    assert len(built.history("base")) == miniature.pretrain.steps
    assert len(built.history("ppo")) == miniature.ppo.iterations
    assert {"score", "gold", "kl_k1", "loss"} <= built.history("ppo")[0].keys()
    assert built.seconds("base") > 0
    assert re.fullmatch(r"loss \d+\.\d{3}, accuracy \d\.\d{3}", built.summary("reward_model"))
    assert built.summary("preferences") == ""


def test_ppo_starts_from_sft_and_leaves_it(built):
    first = built.history("ppo")[0]
    assert first["kl_k1"] == pytest.approx(0, abs=1e-4)  # the first rollout is the reference's own
    sft, ppo = (built.policy(stage).state_dict() for stage in ("sft", "ppo"))
    assert not all(torch.equal(sft[name], ppo[name]) for name in sft)


def test_training_and_test_preferences_share_no_prompt(built):
    prompts = [set(built.preferences(split)["prompt"]) for split in ("train", "test")]
    assert not prompts[0] & prompts[1]


def test_generators_depend_on_the_seed_and_the_purpose_only(miniature, tmp_path):
    def number(seed, purpose):
        pipeline = Pipeline(miniature, seed=seed, cache=tmp_path)
        return torch.rand((), generator=pipeline.generator(purpose)).item(), pipeline.rng(purpose).random()

    assert number(0, "sft") == number(0, "sft")
    drawn = [number(seed, purpose) for seed in (0, 1) for purpose in ("sft", "ppo")]
    for numbers in zip(*drawn, strict=True):
        assert len(set(numbers)) == 4


def test_the_cache_is_where_the_variable_says(monkeypatch, tmp_path, miniature):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "there"))
    assert cache_folder() == tmp_path / "there"
    assert Pipeline(miniature).store.root == tmp_path / "there"
    monkeypatch.delenv(CACHE_VARIABLE)
    assert cache_folder() == Path.home() / ".cache" / "rlhf_mini"


# ------------------------------------------------------------------------------------------- damage and kills


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [cut_short, flip_a_bit, Path.unlink])
def test_a_damaged_stage_is_built_again_and_equals_the_first(copied, built, monkeypatch, damage):
    damage(copied.get("sft") / "model.safetensors")
    assert not copied.is_built("sft")
    forbid_building(monkeypatch, except_for=["sft"])
    with pytest.warns(UserWarning, match="is damaged .*; building it again"):
        again = copied.get("sft")
    assert contents(again) == contents(built.get("sft"))
    copied.get("ppo")  # what was built on it is still good


def test_an_interrupted_stage_leaves_nothing_and_the_rest_is_kept(copied, built, monkeypatch):
    shutil.rmtree(copied.get("sft"))
    stage = STAGES["sft"]

    def interrupted(pipeline, folder):
        stage.build(pipeline, folder)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setitem(STAGES, "sft", dataclasses.replace(stage, build=interrupted))
        with pytest.raises(KeyboardInterrupt):
            copied.get("sft")
    assert not copied.is_built("sft")
    assert copied.is_built("base")
    assert contents(copied.get("sft")) == contents(built.get("sft"))


@pytest.mark.slow  # twenty-one processes build the same stages
@pytest.mark.skipif(os.name == "nt", reason="Windows has no fork to start twenty processes quickly with")
def test_killed_twenty_times_at_random_moments_the_result_is_the_undisturbed_one(built, miniature, tmp_path):
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["rlhf_mini.pipeline"])
    disturbed = Pipeline(miniature, cache=tmp_path / "cache")
    rng, hit, kills = random.Random(0), set(), 0
    while kills < 20:
        process = processes.Process(target=disturbed.get, args=("ppo",))
        process.start()
        process.join(timeout=rng.uniform(0.0, 1.5))
        if process.exitcode is None:
            process.kill()
            process.join()
            kills += 1
            hit |= {folder.name.split("-")[0] for folder in disturbed.store.root.glob(".*.building")}
        else:
            assert process.exitcode == 0
            shutil.rmtree(disturbed.store.root)  # all is built: begin again
    assert hit, "no kill hit a stage"

    final = processes.Process(target=disturbed.get, args=("ppo",))
    final.start()
    final.join()
    assert final.exitcode == 0
    for stage in disturbed.order("ppo"):
        assert disturbed.is_built(stage)
        assert contents(disturbed.get(stage)) == contents(built.get(stage)), stage
    assert not [*disturbed.store.root.glob(".*.building")]


# ------------------------------------------------------------------------------------------ text, base models


@pytest.fixture
def text_file(tmp_path):
    rng = random.Random(0)
    words = ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "two", "dogs"]
    lines = [" ".join(rng.choice(words) for _ in range(8)) for _ in range(60)]
    (tmp_path / "words.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "words.txt"


def test_a_text_is_pretrained_on_and_reported_beside_counting(miniature, text_file, tmp_path):
    pipeline = Pipeline(miniature, cache=tmp_path / "cache", text=text_file)
    assert pipeline.policy("base").config.hidden_size == miniature.text_model["width"]
    assert len(pipeline.history("base")) == miniature.text_pretrain.steps
    lines = report_on_text(pipeline).splitlines()
    assert re.match(r"held-out text: \d+ bytes, the last tenth", lines[0])
    numbers = {line.rsplit(maxsplit=1)[0].strip(): float(line.rsplit(maxsplit=1)[1]) for line in lines[1:]}
    assert [name.split(",")[0] for name in numbers][:3] == ["byte 1-gram", "byte 2-gram", "byte 3-gram"]
    best = min(value for name, value in numbers.items() if name.startswith("byte"))
    assert next(value for name, value in numbers.items() if "the best order" in name) == pytest.approx(best)
    assert best < numbers["base model"] < 8  # three steps teach little, yet a byte has only 8 bits


def test_only_a_pipeline_with_a_text_reports_on_one(built):
    with pytest.raises(ValueError, match="was not given a text"):
        report_on_text(built)


def save_qwen2(folder, tokenizer):
    config = Qwen2Config(
        vocab_size=len(tokenizer) + 1,  # transformers gives every Qwen2 tokenizer an <|endoftext|>
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_gpt_neox(folder, tokenizer):
    config = GPTNeoXConfig(
        vocab_size=len(tokenizer) + 3,  # a rounded vocabulary, as most published models have
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=256,
        eos_token_id=tokenizer.eos_token_id,
    )
    GPTNeoXForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize(("save", "until"), [(save_qwen2, "ppo"), (save_gpt_neox, "reward_model")])
def test_another_base_model_goes_through_the_stages(built, miniature, tmp_path, save, until):
    torch.manual_seed(0)
    save(tmp_path / "mine", built.tokenizer())
    pipeline = Pipeline(miniature, cache=tmp_path / "cache", base_model=str(tmp_path / "mine"))
    pipeline.get(until)
    given = type(pipeline.policy("base")).from_pretrained(tmp_path / "mine")
    base, sft = pipeline.policy("base"), pipeline.policy("sft")
    assert type(sft) is type(base) is type(given)
    assert all(torch.equal(base.state_dict()[name], given.state_dict()[name]) for name in given.state_dict())
    assert not torch.equal(*(model.get_input_embeddings().weight for model in (base, sft)))
    assert pipeline.tokenizer().get_vocab() == AutoTokenizer.from_pretrained(tmp_path / "mine").get_vocab()
    assert pipeline.summary("base") == ""  # it was not trained here
    assert pipeline.reward_model().config.std > 0


def test_a_text_and_a_base_model_exclude_each_other(miniature, text_file, tmp_path):
    with pytest.raises(ValueError, match="a text to pretrain on or a base model, not both"):
        Pipeline(miniature, cache=tmp_path, text=text_file, base_model="gpt2")


def _gradients_wanted(pipeline):
    weight = torch.ones(2, requires_grad=True)
    weight.square().sum().backward()
    return weight.grad.tolist()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_what_is_built_may_train_even_if_its_caller_only_measures(mode, miniature, tmp_path, monkeypatch):
    monkeypatch.setattr(_gradients_wanted, "__module__", "rlhf_mini.pipeline")
    with mode():
        assert Pipeline(miniature, cache=tmp_path).measured(_gradients_wanted) == [2.0, 2.0]
