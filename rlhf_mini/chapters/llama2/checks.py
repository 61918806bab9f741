"""The ladder of chapter 06: what to test, from the exact to the real, when rejection sampling does not pay."""

import torch

from rlhf_mini.batch import Sequences, pack_rows
from rlhf_mini.chapters.llama2 import best_of_k as best
from rlhf_mini.chapters.llama2 import combining
from rlhf_mini.chapters.llama2.exercises import best_of_k
from rlhf_mini.evaluation import best_of_n_kl, best_of_n_kl_bound, read_records, student_interval
from rlhf_mini.exact import TablePolicy, ToyLanguage, best_of_n, kl_divergence
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.rejection_sampling import best_of, keep, random_of
from rlhf_mini.methods.sft import SFTConfig, sft
from rlhf_mini.models import new_llama
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import Rung

Seen = tuple[bool, str]


def exact(pipeline: Pipeline) -> Seen:
    """Best of 8 over all texts of a toy language: adds up to 1, and its KL, summed in two ways, is below the bound."""
    language = ToyLanguage(vocabulary=4, steps=3)
    generator = torch.Generator().manual_seed(pipeline.seed)
    policy = TablePolicy.random(language, generator=generator)
    scores = torch.randn(len(language.texts), generator=generator, dtype=torch.float64)
    with torch.no_grad():
        logp = language.sequence_logp(policy)
        chosen = best_of_n(logp, scores, n=8)
    summed, by_levels = (
        float(kl_divergence(chosen, logp)),
        best_of_n_kl(logp.exp().numpy(), scores.numpy(), n=8),
    )
    right = abs(float(chosen.exp().sum()) - 1) < 1e-9 and abs(summed - by_levels) < 1e-9
    bound = best_of_n_kl_bound(8)
    return right and summed <= bound, f"KL {summed:.4f} and {by_levels:.4f} nats, the bound is {bound:.4f}"


def own_prompt(pipeline: Pipeline) -> Seen:
    """Every kept answer must be an answer to its own prompt, and the best one: by a score that knows the place."""
    prompts = [f"prompt {number}" for number in range(5)]
    candidates = [[f"{prompt}, answer {place}" for place in range(4)] for prompt in prompts]
    scores = torch.arange(20.0).view(5, 4).roll(pipeline.seed + 1, dims=1)
    kept = keep(prompts, candidates, best_of(scores))
    expected = (3 + pipeline.seed + 1) % 4
    own = sum(text.startswith(prompt + ",") for prompt, text in zip(kept.prompts, kept.answers, strict=True))
    right = sum(text.endswith(str(expected)) for text in kept.answers)
    return own == right == 5, f"{own} of 5 belong to their prompts, {right} of 5 are the best"


def known_optimum(pipeline: Pipeline) -> Seen:
    """A bandit with four answers: fine-tuned on its best of 3, a policy must have the exact best-of-3 distribution."""
    start = torch.tensor([0.4, 0.3, 0.2, 0.1])
    drawn = torch.multinomial(
        start.repeat(4096, 1), 3, replacement=True, generator=torch.Generator().manual_seed(pipeline.seed)
    )
    kept = drawn.max(1).values  # the later an answer stands in the list, the better it is
    model = new_llama(
        vocab_size=8, width=16, layers=1, heads=2, context=4, pad_token=0, eos_token=2, bos_token=1, seed=0
    )
    rows: Sequences = pack_rows([[1]] * 4096, [[3 + int(answer), 2] for answer in kept], pad_token=0)
    config = SFTConfig(epochs=2, batch=64, optimizer=OptimizerConfig(learning_rate=1e-2, final_fraction=0.02))
    sft(model, rows, config=config, generator=torch.Generator().manual_seed(pipeline.seed))
    with torch.no_grad():
        learned = model(torch.tensor([[1]])).logits[0, -1].softmax(-1)[3:7]
    wanted = best_of_k(start, 3)
    right = float((learned - wanted).abs().max()) < 0.03
    return right, "wanted " + _row(wanted) + "; learned " + _row(learned)


def _row(numbers: torch.Tensor) -> str:
    return " ".join(f"{number:.2f}" for number in numbers.tolist())


def random_choice(pipeline: Pipeline) -> Seen:
    """A choice that knows no reward must gain nothing: its gold lies within 4 standard errors of the pool's mean."""
    drawn = combining.pool(pipeline, unkind=False)
    golds = best.golds_of(drawn)
    picked = random_of(golds, generator=pipeline.generator("chapter 06 random rung"))
    gain = golds.gather(1, picked[:, None])[:, 0] - golds.mean(1)
    error = float(gain.std()) / len(gain) ** 0.5
    seen = f"gains {float(gain.mean()):+.2f} gold, with a standard error of {error:.2f}"
    return abs(float(gain.mean())) < 4 * error, seen


def in_the_band(pipeline: Pipeline) -> Seen:
    """Gold of the best of 16 on kind prompts, against where one more good seed should fall with 95% probability."""
    found = pipeline.measured(combining.picks)["piecewise"]["kind_gold"]
    profile = pipeline.profile.name
    try:
        records = read_records("chapter_06", experiment="claims", method="piecewise", profile=profile)
    except (ValueError, FileNotFoundError):
        return True, f"{found:.2f}; no seeds of the profile {profile} on record"
    interval = student_interval([record.metrics["kind_gold_piecewise"] for record in records])
    width = interval.half_width * (len(records) + 1) ** 0.5  # of one value, not of the mean
    low, high = interval.mean - width, interval.mean + width
    return (
        low <= found <= high,
        f"{found:.2f} here; {low:.2f} to {high:.2f} by {len(records)} seeds on record",
    )


def real(pipeline: Pipeline) -> Seen:
    """The best of 16 by R_c has at least 0.7 more gold than the policy, on kind and on unkind prompts."""
    found = pipeline.measured(combining.picks)
    gains = [found["piecewise"][f"{kind}_gold"] - found["any"][f"{kind}_gold"] for kind in ("kind", "unkind")]
    return min(gains) > 0.7, f"{gains[0]:+.2f} on kind and {gains[1]:+.2f} on unkind prompts"


def rungs(pipeline: Pipeline) -> list[Rung]:
    """The six rungs for one pipeline."""
    return [
        Rung("exact test", "best of 8 over all texts of a toy language: its KL, summed two ways, below the bound", lambda: exact(pipeline)),
        Rung("own prompt", "every kept answer belongs to its own prompt and is the best there", lambda: own_prompt(pipeline)),
        Rung("known optimum", "fine-tuned on its best of 3, a four-armed bandit becomes the exact best of 3", lambda: known_optimum(pipeline)),
        Rung("random choice", "a choice that knows no reward gains no gold", lambda: random_choice(pipeline)),
        Rung("band of good seeds", "gold of the best of 16 lies where one more good seed should fall", lambda: in_the_band(pipeline)),
        Rung("real run", "the best of 16 has at least 0.7 more gold than the policy, on either kind of prompt", lambda: real(pipeline)),
    ]  # fmt: skip
