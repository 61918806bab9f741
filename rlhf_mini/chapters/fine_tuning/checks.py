"""The ladder of chapter 03: what to test, from the exact to the real, when a fine-tuned model disappoints."""

import torch

from rlhf_mini.batch import Sequences, pack_rows
from rlhf_mini.chapters.fine_tuning import limits, runs
from rlhf_mini.data.chat import draw, response_texts
from rlhf_mini.data.tokenizer import encode_prompt
from rlhf_mini.evaluation.records import read_records
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.sft import SFTConfig, response_loss, sft
from rlhf_mini.models import copy_of, freeze, new_llama
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import Rung

Seen = tuple[bool, str]


def exact(pipeline: Pipeline) -> Seen:
    """The loss against a plain loop over the answers' tokens; and other padding, which must change nothing."""
    model = pipeline.policy("base")
    rows = runs.encode(pipeline, runs.demonstration_rows(pipeline, crew="mixed", count=4))
    by_hand = []
    with torch.no_grad():
        for tokens, mask, response in zip(rows.tokens, rows.mask, rows.response, strict=True):
            logp = model(tokens[mask][None].to(model.device)).logits[0].log_softmax(-1)
            by_hand += [-float(logp[t - 1, tokens[t]]) for t in response.nonzero().flatten()]
    expected = sum(by_hand) / len(by_hand)
    found = response_loss(model, rows)
    junk = Sequences(rows.tokens.masked_fill(~rows.mask, 7), rows.mask, rows.response)
    same = abs(found - expected) < 1e-3 and abs(found - response_loss(model, junk)) < 1e-6
    return same, f"{found:.4f} by the library, {expected:.4f} by hand, in nats per token"


def by_heart(pipeline: Pipeline) -> Seen:
    """Four demonstrations, trained on until the model can say them."""
    tokenizer = pipeline.tokenizer()
    rows = runs.demonstration_rows(pipeline, crew="careful", count=4)
    model = copy_of(pipeline.policy("base"))
    config = SFTConfig(epochs=60, batch=4, optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=5))
    sft(model, runs.encode(pipeline, rows), config=config, generator=torch.Generator().manual_seed(0))
    drawn = draw(
        freeze(model),
        tokenizer,
        [encode_prompt(tokenizer, row["prompt"]) for row in rows],
        max_new_tokens=pipeline.profile.max_new_tokens,
        generator=torch.Generator().manual_seed(0),
        temperature=0.0,
    )
    texts = response_texts(tokenizer, drawn)
    told = sum(text == row["completion"] for text, row in zip(texts, rows, strict=True))
    return told == 4, f"{told} of 4 answers said word by word, end token included"


def known_optimum(pipeline: Pipeline) -> Seen:
    """Two answers to one prompt, three quarters and one quarter of the demonstrations: so often it must say them."""
    model = new_llama(
        vocab_size=8, width=16, layers=1, heads=2, context=4, pad_token=0, eos_token=2, bos_token=1, seed=0
    )
    rows = pack_rows([[1]] * 32, [[3, 2]] * 24 + [[4, 2]] * 8, pad_token=0)
    optimizer = OptimizerConfig(learning_rate=1e-2, final_fraction=0.02)
    config = SFTConfig(epochs=120, batch=32, optimizer=optimizer)
    sft(model, rows, config=config, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        said = model(torch.tensor([[1]])).logits[0, -1].softmax(-1)
    return abs(float(said[3]) - 0.75) < 0.03, f"0.75 wanted, {float(said[3]):.3f} learned"


def in_the_band(pipeline: Pipeline) -> Seen:
    """The training loss at the end, against those of the seeds on record."""
    found = limits.train_nats(runs.run_on(pipeline, crew="mixed"))
    records = read_records(
        "chapter_03", experiment="claims", method="imitation", profile=pipeline.profile.name
    )
    good = [record.metrics["train_nats_usual"] for record in records]
    low, high = min(good) - 0.03, max(good) + 0.03
    return (
        low < found < high,
        f"{found:.3f} here; {min(good):.3f} to {max(good):.3f} on {len(good)} seeds on record",
    )


def real(pipeline: Pipeline) -> Seen:
    """Gold on held-out requests, before and after."""
    before = runs.judged(pipeline, pipeline.policy("base"), count=64).metrics()["gold"]
    after = runs.judged(pipeline, pipeline.policy("sft"), count=64).metrics()["gold"]
    return after > before + 0.5, f"gold {before:.2f} before, {after:.2f} after"


def rungs(pipeline: Pipeline) -> list[Rung]:
    """The five rungs for one pipeline."""
    return [
        Rung("exact test", "the loss is that of a plain loop; padding does not matter", lambda: exact(pipeline)),
        Rung("learned by heart", "four demonstrations can be said word by word", lambda: by_heart(pipeline)),
        Rung("known optimum", "a model says what it was shown, as often as it was shown", lambda: known_optimum(pipeline)),
        Rung("band of good seeds", "the loss ends where it does on other seeds", lambda: in_the_band(pipeline)),
        Rung("real run", "gold rises by at least 0.5", lambda: real(pipeline)),
    ]  # fmt: skip
