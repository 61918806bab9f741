"""Sums that a small model learns from faulty solutions: what chapters 08 and 09 do alike."""

from collections.abc import Sequence

from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from rlhf_mini.data.chat import pack_texts
from rlhf_mini.data.digits import character_tokenizer
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.sft import SFTConfig, sft
from rlhf_mini.models import new_llama
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import sums
from rlhf_mini.worlds.sums import Level, Sum

LEVEL = Level(numbers=2, digits=2)
MAX_NEW_TOKENS = 24
BATCH = 28  # of the demonstrations


def tokenizer() -> PreTrainedTokenizerBase:
    """One token a character."""
    return character_tokenizer(sums.ALPHABET)


def held_out_sums(count: int, *, rehearsal: bool) -> list[Sum]:
    """Sums that nobody was shown: the second half of `count`; for `rehearsal` the first half."""
    drawn = sums.draw_sums(count, LEVEL, seed=0, held_out=True)
    return drawn[: count // 2] if rehearsal else drawn[count // 2 :]


def fine_tuned_start(
    pipeline: Pipeline,
    prompts: Sequence[str],
    solutions: Sequence[str],
    *,
    context: int,
    epochs: int,
    purpose: str,
) -> LlamaForCausalLM:
    """A small Llama after some epochs of demonstrations, in an order of its own for every `purpose`."""
    words = tokenizer()
    model = new_llama(
        vocab_size=len(words),
        width=64,
        layers=2,
        heads=4,
        context=context,
        pad_token=words.pad_token_id,
        eos_token=words.eos_token_id,
        bos_token=words.bos_token_id,
        seed=pipeline.seed,
    ).to(pipeline.device)
    optimizer = OptimizerConfig(learning_rate=3e-3, warmup_steps=20, final_fraction=0.05)
    sft(
        model,
        pack_texts(words, prompts, solutions),
        config=SFTConfig(epochs=epochs, batch=BATCH, optimizer=optimizer),
        generator=pipeline.generator(purpose),
    )
    return model
