"""Zephyr-ORPO: a base model, pairs that a language model rated, one stage; no reference, no reward model."""

import json
from pathlib import Path

from rlhf_mini.batch import Pairs
from rlhf_mini.chapters.rlaif.judges import rate_of
from rlhf_mini.methods.answers import Answers
from rlhf_mini.methods.orpo import InverseRootConfig, ORPOConfig, orpo
from rlhf_mini.methods.self_rewarding import Preferred, pack_preferred, preferred
from rlhf_mini.models import copy_of
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.recipes.recipe import Recipe
from rlhf_mini.worlds import stories

EPOCHS = 3
WARMUP_SHARE = 100 / 650  # of the steps: 100 of about 650 in the released run
RATE_OF_SFT = 0.5  # the learning rate as a share of the profile's for fine-tuning


def rated_pairs(pipeline: Pipeline, folder: Path, *, prompts: int) -> None:
    """Kept: the best and the worst of the three demonstrators' answers to each prompt, as a judge rates them.

    The judge is a language model. Prompts whose answers it rates alike are left out.
    """
    rng = pipeline.rng("recipe Zephyr-ORPO writers")
    requests = stories.draw_requests(prompts, seed=pipeline.seed_for("recipe Zephyr-ORPO prompts"))
    asked = [request.text for request in requests]
    texts = [[stories.demonstrate(one, writer, rng) for writer, _ in stories.CREW] for one in requests]
    flat = [text for row in texts for text in row]
    rated = rate_of(pipeline)([prompt for prompt in asked for _ in stories.CREW], flat)
    pairs = preferred(Answers(asked, texts, rated.view(len(asked), -1)))
    (folder / "pairs.json").write_text(json.dumps(vars(pairs)))


def pairs_of(pipeline: Pipeline) -> Pairs:
    """The rated pairs as token sequences: of as many prompts as the SFT model has demonstrations."""
    folder = pipeline.kept(rated_pairs, prompts=pipeline.profile.demonstrations)
    return pack_preferred(pipeline.tokenizer(), Preferred(**json.loads((folder / "pairs.json").read_text())))


def config_for(pipeline: Pipeline, pairs: int, *, odds_weight: float) -> ORPOConfig:
    """The released run's epochs, batch and schedule, in steps of our number of pairs."""
    usual = pipeline.profile.sft
    steps = EPOCHS * (pairs // usual.batch)
    optimizer = InverseRootConfig(
        learning_rate=RATE_OF_SFT * usual.optimizer.learning_rate,
        warmup_steps=max(1, round(WARMUP_SHARE * steps)),
    )
    return ORPOConfig(epochs=EPOCHS, batch=usual.batch, odds_weight=odds_weight, optimizer=optimizer)


def train(pipeline: Pipeline, folder: Path, *, odds_weight: float, start: str = "base") -> None:
    """Saves the policy after each epoch, and the log of all steps; `start` is a stage of the pipeline."""
    pairs, policy = pairs_of(pipeline), copy_of(pipeline.policy(start))
    config = config_for(pipeline, len(pairs), odds_weight=odds_weight)
    an_epoch = max(1, len(pairs) // config.batch)

    def save(step: int, entry: dict[str, float]) -> None:
        if step % an_epoch == 0:
            policy.save_pretrained(folder / f"epoch {step // an_epoch}")

    generator = pipeline.generator("recipe Zephyr-ORPO")
    log = orpo(policy, pairs, config=config, generator=generator, hooks=[save])
    (folder / "log.json").write_text(json.dumps(log))


RECIPE = Recipe(
    name="zephyr_orpo",
    title="Zephyr-ORPO",
    year=2024,
    report="Hugging Face H4, Argilla and KAIST, zephyr-orpo-141b-A35b-v0.1; ORPO in arXiv 2403.07691",
    address="https://huggingface.co/HuggingFaceH4/zephyr-orpo-141b-A35b-v0.1",
    data="Capybara-DPO, 7,563 synthetic pairs rated by language models; 6,932 of them trained on",
    reward="None",
    optimiser="ORPO, λ 0.05; rate 5e-6, inverse root after 100 steps; 3 epochs; 2,048 tokens",
    anchor="No reference, no KL; the loss on the chosen answers, a small λ, few steps",
    rounds="One, from the base model Mixtral-8x22B; 1.3 hours on 4 × 8 H100",
    reported=(
        "Training loss, mean over 3 epochs: 0.8126 (all_results.json of the run)",
        "Another model, Mistral-ORPO-β: AlpacaEval 2 12.20%, MT-Bench 7.32 (abstract of the paper)",
        "OPT 125M, 350M, 1.3B on HH, wins over DPO by a reward model: 41.7, 49.4, 70.9% (Table 2)",
    ),
    left_out=(
        "A comparison with SFT or DPO on the same base model and pairs; other values of λ at this size",
        "Which model rated the answers, and how often it errs; why 6,932 of 7,563 pairs were used",
        "Whether the loss that balances the experts was kept",
    ),
    set_right=(
        "“35B parameters are active”: 39B; the 35 in the name is a slip, and the card says so",
        "“Fine-tuned on UltraFeedback”: on Capybara-DPO; UltraFeedback is the paper's data",
        "“λ = 0.1, as in the paper”: 0.05 in the released configuration",
        "“ORPO lowers the rejected answers”: at λ = 0.1 they do not fall, the chosen ones rise (App. E.1)",
        "“ORPO beats DPO at every size”: at 125M it loses to it (Table 2)",
    ),
    train=train,
    steps=tuple(f"epoch {number}" for number in range(1, EPOCHS + 1)),
    settings={"odds_weight": 0.05},
    variants={"chosen answers alone": {"odds_weight": 0.0}, "after fine-tuning": {"start": "sft"}},
    departures=(
        "Single requests, not conversations of several turns, and a dense model: the world has no others",
        "Three demonstrators write and a judge schooled on stories rates: no larger model is at hand",
        "L_SFT counts the answer's tokens, as the paper's formula does; the released code adds the prompt's",
        "The rate is half of fine-tuning's: small models learn at rates that large ones do not bear",
    ),
)
