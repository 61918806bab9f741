"""Llama 3: six rounds of reward model, rejection sampling, SFT from the base model and DPO, each averaged."""

import json
from pathlib import Path

from rlhf_mini.pipeline import Pipeline
from rlhf_mini.recipes.llama3_rounds import Campaign
from rlhf_mini.recipes.recipe import Recipe

ROUNDS = 6
STEPS = tuple(f"round {number}" for number in range(1, ROUNDS + 1))


def train(
    pipeline: Pipeline,
    folder: Path,
    *,
    rounds: int = ROUNDS,
    members: int = 2,
    masked: bool = True,
    nll_weight: float = 0.2,
    edited_share: float = 0.25,
) -> None:
    """So many rounds; saves the policy after each, and the log.

    - `members`: siblings that are averaged at each stage, at most four.
    - `masked`: whether DPO's contrast leaves the end token out; `nll_weight`: of the chosen answer's −log π.
    - `edited_share`: of the pairs, whose better answer somebody tries to improve.
    """
    campaign, log = Campaign(pipeline, members=members, edited_share=edited_share), []
    for number in range(1, rounds + 1):
        campaign.ask_people(number)
        log.append(campaign.sample(campaign.reward_model(), number))
        campaign.fine_tune()
        campaign.prefer(masked=masked, nll_weight=nll_weight)
        campaign.policy.save_pretrained(folder / f"round {number}")
    (folder / "log.json").write_text(json.dumps(log))


RECIPE = Recipe(
    name="llama3",
    title="Llama 3",
    year=2024,
    report="Llama Team 2024, The Llama 3 Herd of Models, §4.1 and §4.2",
    address="https://arxiv.org/abs/2407.21783",
    data="Two models' answers, four ratings; some edited: edited > chosen > rejected. Clear pairs only",
    reward="Pairwise loss without a margin, from the pre-trained model; it serves rejection sampling alone",
    optimiser="Best of K (10 to 30), SFT from the pre-trained model, DPO with 0.2 × NLL, end tokens masked",
    anchor="DPO's reference (β = 0.1), the NLL term, and averages of siblings at each stage",
    rounds="Six; what goes from round to round is data. The reward model sees all pairs, DPO the latest",
    reported=(
        "8B Instruct: IFEval 80.4, GSM8K 84.5, MATH 51.9 (Table 2)",
        "Rejection sampling ran over 2× as fast with PagedAttention (§4.2.2)",
    ),
    left_out=(
        "Any ablation: of the mask, of the NLL term, of the averages, of the rounds",
        "The number of comparisons and of SFT examples",
        "Batch, steps and schedule of DPO and of the reward model; the temperature of sampling",
        "How many models are averaged, with what weights, and what that gains",
        "Which model is DPO's reference; whether the NLL term is a sum or a mean, and masked too",
    ),
    set_right=(
        "“The final model averages all rounds”: averages are of siblings within one stage",
        "“Llama 3 used PPO”: so says the blog of April 2024; in this report PPO was explored and left",
        "“Each round goes on from the last one's policy”: SFT starts from the pre-trained model again",
        "“Margins as in Llama 2”: they were removed. DPO learns from people's pairs, not the reward model",
    ),
    train=train,
    steps=STEPS,
    departures=(
        "The pairs of the first round are the pipeline's, two answers of one model; two models come later",
        "The two models of a pair are the last round's policy and the SFT model that it came from",
        "An answer has no header here: the end token is all that is masked",
        "An editor repairs the first principle of the constitution whose repair raises gold",
        "Rankings of three are learned as pairs, each answer in a row of its own",
        "SFT takes one pass over chosen answers and demonstrations, and two siblings are averaged: a budget",
    ),
    settings={"rounds": ROUNDS, "members": 2, "masked": True, "nll_weight": 0.2, "edited_share": 0.25},
    variants={
        "plain DPO": {"masked": False, "nll_weight": 0.0},
        "without averages": {"members": 1},
    },
)
