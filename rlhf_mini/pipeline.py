"""The whole of RLHF as named stages, in order, each built once and kept: ask for a stage and get its result.

    tokenizer → base → sft → preferences → reward_model → ppo, ppo_without_kl

A stage's result is a folder in a cache, addressed by everything that went into it: the profile's numbers, the
seed, the library's code, and the results it builds on. Change any of them and the stage is built anew; change
nothing and it is read back. Models and tokenizers are saved as `transformers` saves them, data sets as
`datasets` does.
"""

import hashlib
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, load_from_disk
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from rlhf_mini.batch import Pairs, Rollout
from rlhf_mini.cache import Store, cache_folder, read_manifest
from rlhf_mini.code_version import code_version
from rlhf_mini.data.chat import answer, pack_texts, response_texts
from rlhf_mini.data.load import load_text
from rlhf_mini.data.pretrained import load_causal_lm
from rlhf_mini.data.text import held_out, token_stream
from rlhf_mini.data.tokenizer import encode_prompt, train_tokenizer
from rlhf_mini.devices import describe, pick_device
from rlhf_mini.loop import Hook
from rlhf_mini.methods.ppo import OnRollout, PPOConfig, ppo, value_model_for
from rlhf_mini.methods.pretrain import block_batches, document_batches, pack_documents, pretrain
from rlhf_mini.methods.reward_model import normalise, scores, train_reward_model
from rlhf_mini.methods.sft import check_fits, sft
from rlhf_mini.models import copy_of, freeze, new_llama, new_reward_model
from rlhf_mini.parallel import side_by_side
from rlhf_mini.profiles import Profile, pick_profile
from rlhf_mini.worlds import stories


def _state_of(folder: Path) -> dict[str, list[int]]:
    """Size and time of change of a local model's files, to notice new ones; empty for a hub name."""
    files = sorted(file for file in folder.glob("*") if file.is_file())
    return {file.name: [file.stat().st_size, file.stat().st_mtime_ns] for file in files}


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline: what it needs, the profile's fields it reads, and how it is built."""

    needs: tuple[str, ...]
    reads: tuple[str, ...]
    build: "Callable[[Pipeline, Path], None]"


@contextmanager
def _gradients_on() -> Iterator[None]:
    """What is built may have to train, even where the one who asks for it measures without gradients."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


class Pipeline:
    """The stages for one profile and one seed.

    >>> [*STAGES][:3]
    ['tokenizer', 'base', 'sft']
    """

    def __init__(
        self,
        profile: Profile | str | None = None,
        *,
        seed: int = 0,
        cache: Path | None = None,
        text: Path | str | None = None,
        base_model: str | None = None,
    ) -> None:
        """`text` (any source of `load_text`) replaces the story world as what the base model is trained on.

        `base_model` (a hub name or a saved folder) replaces tokenizer and base model altogether.
        `cache` is where results are kept, `cache_folder()` if not given.
        """
        if text is not None and base_model is not None:
            raise ValueError(
                "give a text to pretrain on or a base model, not both: a base model is not pretrained"
            )
        profile = profile if isinstance(profile, Profile) else pick_profile(profile)
        self.profile = profile.for_text() if text is not None else profile
        self.seed = seed
        self.device = pick_device()
        self.store = Store(cache or cache_folder())
        self.base_model = base_model
        self.text = None if text is None else held_out(load_text(text), fraction=0.1)

    def key(self, stage: str) -> dict[str, Any]:
        """Everything that the result of a stage depends on, in JSON values."""
        numbers = {**asdict(self.profile), "max_new_tokens": self.profile.max_new_tokens}
        return {
            "seed": self.seed,
            "code": code_version(__name__),
            "device": describe(self.device),
            **self._source(),
            "numbers": {name: numbers[name] for name in STAGES[stage].reads},
            "needs": {name: self.store.path(name, self.key(name)).name for name in STAGES[stage].needs},
        }

    def _source(self) -> dict[str, Any]:
        """What replaces the story world, if anything does: a hash of the text, or which base model it is."""
        if self.text is not None:
            return {"text": hashlib.sha256("\0".join(self.text[0]).encode()).hexdigest()}
        if self.base_model is None:
            return {}
        return {"base_model": self.base_model, "files": _state_of(Path(self.base_model))}

    def order(self, stage: str) -> list[str]:
        """The stages that a stage needs, in the order in which they are built, itself the last.

        >>> Pipeline("quick").order("sft")
        ['tokenizer', 'base', 'sft']
        """
        needed = [before for name in STAGES[stage].needs for before in self.order(name)]
        return [*dict.fromkeys([*needed, stage])]

    def is_built(self, stage: str) -> bool:
        """Whether the stage is in the cache, whole."""
        return self.store.has(stage, self.key(stage))

    def get(self, stage: str) -> Path:
        """The folder of a stage's result; built now, with all that it needs, unless it is in the cache."""
        if stage not in STAGES:
            raise ValueError(f"unknown stage {stage!r}: choose one of {', '.join(STAGES)}")
        for name in STAGES[stage].needs:
            self.get(name)
        with _gradients_on():
            return self.store.get(stage, self.key(stage), lambda folder: STAGES[stage].build(self, folder))

    def build(self, *stages: str) -> None:
        """Build several stages, those that do not need one another side by side where that is faster."""
        for stage in stages:
            for name in STAGES[stage].needs:
                self.get(name)
        missing = [stage for stage in stages if not self.is_built(stage)]
        for _ in side_by_side(self.get, missing, description=" and ".join(missing)):
            pass

    def kept(self, build: "Callable[..., None]", **settings: Any) -> Path:
        """The folder that `build(pipeline, folder, **settings)` fills: an experiment's own stage.

        Built once, and again when its code, the pipeline's code, its settings (JSON values), the profile, the
        seed or the device change. `build` must stand in the library, not in a notebook.
        """
        key = {
            "seed": self.seed,
            "code": code_version(__name__, build.__module__),
            "device": describe(self.device),
            **self._source(),
            "profile": asdict(self.profile),
            "function": f"{build.__module__}.{build.__qualname__}",
            "settings": settings,
        }
        name = re.sub("[^a-z0-9]+", "-", build.__name__.lower()).strip("-")
        with _gradients_on():
            return self.store.get(name, key, lambda folder: build(self, folder, **settings))

    def measured(self, experiment: "Callable[..., Any]", **settings: Any) -> Any:
        """What `experiment(pipeline, **settings)` returns, in JSON values; measured once and kept, as `kept`.

        Tuples come back as lists, and the keys of mappings as texts.
        """

        # the writer takes the experiment's name and place, because the entry's address is made of them
        @wraps(experiment)
        def write(pipeline: "Pipeline", folder: Path, **settings: Any) -> None:
            result = json.dumps(experiment(pipeline, **settings), allow_nan=False)
            (folder / "result.json").write_text(result)

        return json.loads((self.kept(write, **settings) / "result.json").read_text())

    def seconds(self, stage: str) -> float:
        """How long the stage took when it was built."""
        return float(read_manifest(self.get(stage))["seconds"])

    def summary(self, stage: str) -> str:
        """The last numbers that the stage logged, in one line."""
        if not (self.get(stage) / "history.json").exists():
            return ""
        last = self.history(stage)[-1]
        shown = [name for name in ("loss", "accuracy", "score", "gold", "kl_k1") if name in last]
        return ", ".join(f"{name} {last[name]:.3f}" for name in shown)

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer that all stages share."""
        return AutoTokenizer.from_pretrained(self.get("tokenizer"))

    def policy(self, stage: str) -> PreTrainedModel:
        """The language model that a stage made, frozen, on this machine's device."""
        return freeze(AutoModelForCausalLM.from_pretrained(self.get(stage))).to(self.device)

    def reward_model(self, stage: str = "reward_model") -> PreTrainedModel:
        """The reward model, frozen, on this machine's device."""
        return freeze(AutoModelForSequenceClassification.from_pretrained(self.get(stage))).to(self.device)

    def history(self, stage: str) -> list[dict[str, float]]:
        """What the stage logged: one entry a training step, for PPO one an iteration."""
        return json.loads((self.get(stage) / "history.json").read_text())

    def preferences(self, split: str) -> Dataset:
        """The annotated pairs: `train` or `test`."""
        return load_from_disk(str(self.get("preferences") / split))

    def rng(self, purpose: str) -> random.Random:
        """Random numbers that depend on the pipeline's seed and on what they are for."""
        return random.Random(f"{self.seed} {purpose}")

    def seed_for(self, purpose: str) -> int:
        """The same as a seed for somebody else's random numbers."""
        return self.rng(purpose).getrandbits(62)

    def generator(self, purpose: str) -> torch.Generator:
        """The same as torch's random numbers, on the CPU."""
        return torch.Generator().manual_seed(self.seed_for(purpose))


def _save_history(folder: Path, history: list[dict[str, float]]) -> None:
    (folder / "history.json").write_text(json.dumps(history))


def _build_tokenizer(pipeline: Pipeline, folder: Path) -> None:
    if pipeline.base_model is not None:
        load_causal_lm(pipeline.base_model)[1].save_pretrained(folder)
        return
    if pipeline.text is not None:
        train_tokenizer(pipeline.text[0], vocab_size=pipeline.profile.vocab_size).save_pretrained(folder)
        return
    rng = pipeline.rng("tokenizer")
    texts = [stories.draw_document(rng) for _ in range(4000)]
    texts += [request.text for request in stories.draw_requests(1000, seed=rng.getrandbits(62))]
    train_tokenizer(texts, vocab_size=pipeline.profile.vocab_size).save_pretrained(folder)


def untrained_base(pipeline: Pipeline) -> PreTrainedModel:
    """The stage `base` before its training: the profile's Llama with the pipeline's own first weights."""
    profile, tokenizer = pipeline.profile, pipeline.tokenizer()
    return new_llama(
        vocab_size=len(tokenizer),
        width=profile.width,
        layers=profile.layers,
        heads=profile.heads,
        context=profile.context,
        pad_token=tokenizer.pad_token_id,
        eos_token=tokenizer.eos_token_id,
        bos_token=tokenizer.bos_token_id,
        seed=pipeline.seed,
    ).to(pipeline.device)


def pretrain_base(
    pipeline: Pipeline, model: PreTrainedModel, *, hooks: Sequence[Hook] = ()
) -> list[dict[str, float]]:
    """The training of the stage `base`, in place, from `untrained_base`; returns the history of `fit`."""
    profile, tokenizer = pipeline.profile, pipeline.tokenizer()
    config, generator = profile.pretrain, pipeline.generator("pretrain")
    if pipeline.text is not None:
        batches = block_batches(token_stream(tokenizer, pipeline.text[0]), config=config, generator=generator)
    else:
        rng = pipeline.rng("documents")
        documents = pack_documents(tokenizer, [stories.draw_document(rng) for _ in range(profile.documents)])
        check_fits(documents, model)
        batches = document_batches(documents, batch=config.batch, generator=generator)
    return pretrain(model, batches, config=config, hooks=hooks)


def _build_base(pipeline: Pipeline, folder: Path) -> None:
    if pipeline.base_model is not None:
        load_causal_lm(pipeline.base_model)[0].save_pretrained(folder)
        return
    model = untrained_base(pipeline)
    history = pretrain_base(pipeline, model)
    model.save_pretrained(folder)
    _save_history(folder, history)


def _build_sft(pipeline: Pipeline, folder: Path) -> None:
    profile, tokenizer = pipeline.profile, pipeline.tokenizer()
    rows = stories.demonstrations(profile.demonstrations, seed=pipeline.seed_for("demonstrations"))
    sequences = pack_texts(tokenizer, [r["prompt"] for r in rows], [r["completion"] for r in rows])
    model = copy_of(pipeline.policy("base"))
    history = sft(model, sequences, config=profile.sft, generator=pipeline.generator("sft"))
    model.save_pretrained(folder)
    _save_history(folder, history)


def _build_preferences(pipeline: Pipeline, folder: Path) -> None:
    profile, tokenizer, policy = pipeline.profile, pipeline.tokenizer(), pipeline.policy("sft")
    for split, count in (("train", profile.pairs), ("test", profile.test_pairs)):
        seed = pipeline.seed_for(f"comparisons {split}")
        requests = stories.draw_requests(count, seed=seed, held_out=split == "test")
        prompts = [request.text for request in requests]
        generator = pipeline.generator(f"preferences {split}")
        first, second = (
            answer(policy, tokenizer, prompts, max_new_tokens=profile.max_new_tokens, generator=generator)
            for _ in range(2)
        )
        rows = [
            {"prompt": p, "first": a, "second": b} for p, a, b in zip(prompts, first, second, strict=True)
        ]
        judged = stories.annotate(rows, seed=seed)
        Dataset.from_list(judged).save_to_disk(str(folder / split))


def pack_pairs(tokenizer: PreTrainedTokenizerBase, dataset: Dataset) -> Pairs:
    """A preference data set (columns `prompt`, `chosen`, `rejected`) as token sequences."""
    prompts = list(dataset["prompt"])
    return Pairs(
        chosen=pack_texts(tokenizer, prompts, list(dataset["chosen"])),
        rejected=pack_texts(tokenizer, prompts, list(dataset["rejected"])),
    )


def _build_reward_model(pipeline: Pipeline, folder: Path) -> None:
    profile, tokenizer = pipeline.profile, pipeline.tokenizer()
    pairs = pack_pairs(tokenizer, pipeline.preferences("train"))
    model = new_reward_model(pipeline.policy("sft"), seed=pipeline.seed).requires_grad_(True)
    history = train_reward_model(
        model, pairs, config=profile.reward_model, generator=pipeline.generator("reward_model")
    )
    normalise(model, pairs.rejected)
    model.save_pretrained(folder)
    _save_history(folder, history)


def prompts_for_ppo(pipeline: Pipeline) -> tuple[list[tuple[int, ...]], OnRollout]:
    """The encoded requests that PPO answers, and what adds `gold` to a rollout's metrics.

    Gold is the truth: logged, but never trained on.
    """
    tokenizer = pipeline.tokenizer()
    requests = stories.draw_requests(4000, seed=pipeline.seed_for("PPO prompts"))
    words = {tuple(encode_prompt(tokenizer, request.text)): request.text for request in requests}

    def add_gold(iteration: int, rollout: Rollout, metrics: dict[str, float]) -> None:
        prompts = rollout.sequences.mask & ~rollout.sequences.response
        rows = zip(rollout.sequences.tokens, prompts, strict=True)
        asked = [words[tuple(tokens[prompt].tolist())] for tokens, prompt in rows]
        golds = stories.gold_scores(asked, response_texts(tokenizer, rollout.sequences))
        metrics["gold"] = sum(golds) / len(golds)

    return [*words], add_gold


def _run_ppo(pipeline: Pipeline, folder: Path, config: PPOConfig) -> None:
    reward_model, policy = pipeline.reward_model(), copy_of(pipeline.policy("sft"))
    prompts, add_gold = prompts_for_ppo(pipeline)
    log = ppo(
        policy,
        value_model_for(reward_model).requires_grad_(True),
        pipeline.policy("sft"),
        lambda sequences: scores(reward_model, sequences),
        pipeline.tokenizer(),
        prompts,
        config=config,
        generator=pipeline.generator("ppo"),
        on_rollout=add_gold,
    )
    policy.save_pretrained(folder)
    _save_history(folder, log)


STAGES: dict[str, Stage] = {
    "tokenizer": Stage((), ("vocab_size",), _build_tokenizer),
    "base": Stage(
        ("tokenizer",), ("width", "layers", "heads", "context", "documents", "pretrain"), _build_base
    ),
    "sft": Stage(("tokenizer", "base"), ("demonstrations", "sft"), _build_sft),
    "preferences": Stage(("tokenizer", "sft"), ("pairs", "test_pairs", "max_new_tokens"), _build_preferences),
    "reward_model": Stage(("tokenizer", "sft", "preferences"), ("reward_model",), _build_reward_model),
    "ppo": Stage(
        ("tokenizer", "sft", "reward_model"),
        ("ppo",),
        lambda pipeline, folder: _run_ppo(pipeline, folder, pipeline.profile.ppo),
    ),
    "ppo_without_kl": Stage(
        ("tokenizer", "sft", "reward_model"),
        ("ppo_without_kl",),
        lambda pipeline, folder: _run_ppo(pipeline, folder, pipeline.profile.ppo_without_kl),
    ),
}
