"""The ladder of chapter 06: what to test, from the exact to the real, when rejection sampling does not pay."""

import torch

from rlhf_mini.batch import Sequences, pack_rows
from rlhf_mini.chapters.llama2.exercises import best_of_k
from rlhf_mini.evaluation import best_of_n_kl, best_of_n_kl_bound
from rlhf_mini.exact import TablePolicy, ToyLanguage, best_of_n, kl_divergence
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.rejection_sampling import best_of, keep
from rlhf_mini.methods.sft import SFTConfig, sft
from rlhf_mini.models import new_llama
from rlhf_mini.pipeline import Pipeline

Seen = tuple[bool, str]


def exact(pipeline: Pipeline) -> Seen:
    """Best of 8 over all texts of a toy language: adds up to 1, and its KL, summed in two ways, is below the bound."""
    language = ToyLanguage(vocabulary=4, steps=3)
    generator = torch.Generator().manual_seed(pipeline.seed)
    policy = TablePolicy.random(language, generator=generator)
    scores = torch.randn(len(language.texts), generator=generator, dtype=torch.float64)
    with torch.no_grad():
        logp = language.sequence_logp(policy)
        best = best_of_n(logp, scores, n=8)
    summed, by_levels = (
        float(kl_divergence(best, logp)),
        best_of_n_kl(logp.exp().numpy(), scores.numpy(), n=8),
    )
    right = abs(float(best.exp().sum()) - 1) < 1e-9 and abs(summed - by_levels) < 1e-9
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
    best = sum(text.endswith(str(expected)) for text in kept.answers)
    return own == best == 5, f"{own} of 5 belong to their prompts, {best} of 5 are the best"


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
