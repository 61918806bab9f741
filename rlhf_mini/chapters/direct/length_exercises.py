"""Exercises of chapter 07 on tokens that count: a prompt's by mistake, and the price of an answer's."""

import torch
from torch import Tensor

from rlhf_mini.reader import Exercise, Mistake

# --------------------------------------------------------------------------------------- 8 · a prompt that counts


def shifts(prompt: Tensor, chosen: Tensor, rejected: Tensor) -> tuple[float, float, float]:
    """By how much a pair's lead grows if the prompt's tokens count as the answers': DPO, SimPO, IPO per token.

    Each argument is (2, T): the tokens' log-probabilities under the policy, and under the reference. DPO's lead is h;
    SimPO's is the difference of the answers' mean log-probabilities; the third that of their mean log-ratios.
    """

    def change_of_mean(answer: Tensor, before: Tensor) -> Tensor:
        return torch.cat([before, answer]).mean() - answer.mean()

    simpo = change_of_mean(chosen[0], prompt[0]) - change_of_mean(rejected[0], prompt[0])
    before, better, worse = (tokens[0] - tokens[1] for tokens in (prompt, chosen, rejected))
    return 0.0, float(simpo), float(change_of_mean(better, before) - change_of_mean(worse, before))


def _all_cancel(prompt: Tensor, chosen: Tensor, rejected: Tensor) -> tuple[float, float, float]:
    return 0.0, 0.0, 0.0


def _before_the_chosen_only(prompt: Tensor, chosen: Tensor, rejected: Tensor) -> tuple[float, float, float]:
    before, better = prompt[0] - prompt[1], chosen[0] - chosen[1]
    simpo = torch.cat([prompt[0], chosen[0]]).mean() - chosen[0].mean()
    return float(before.sum()), float(simpo), float(torch.cat([before, better]).mean() - better.mean())


def _old_lengths(prompt: Tensor, chosen: Tensor, rejected: Tensor) -> tuple[float, float, float]:
    shares = 1 / chosen.shape[1] - 1 / rejected.shape[1]
    return 0.0, float(prompt[0].sum() * shares), float((prompt[0] - prompt[1]).sum() * shares)


def _taken_off(prompt: Tensor, chosen: Tensor, rejected: Tensor) -> tuple[float, float, float]:
    dpo, simpo, ipo = shifts(prompt, chosen, rejected)
    return dpo, -simpo, -ipo


def _new_leads(prompt: Tensor, chosen: Tensor, rejected: Tensor) -> tuple[float, float, float]:
    dpo, simpo, ipo = shifts(prompt, chosen, rejected)
    better, worse = chosen[0] - chosen[1], rejected[0] - rejected[1]
    return (
        dpo + float(better.sum() - worse.sum()),
        simpo + float(chosen[0].mean() - rejected[0].mean()),
        ipo + float(better.mean() - worse.mean()),
    )


def _reference_for_all(prompt: Tensor, chosen: Tensor, rejected: Tensor) -> tuple[float, float, float]:
    dpo, _, ipo = shifts(prompt, chosen, rejected)
    return dpo, ipo, ipo


def _texts() -> list[tuple]:
    draw = torch.Generator().manual_seed(0)

    def logps(*lengths: int) -> tuple[Tensor, ...]:
        return tuple(-2 * torch.rand(2, length, generator=draw, dtype=torch.float64) for length in lengths)

    flat = (torch.full((2, 2), -3.0), torch.full((2, 3), -1.0), torch.full((2, 1), -1.0))
    return [
        logps(6, 3, 8),
        logps(4, 5, 2),
        logps(3, 2, 2),
        flat,
    ]  # the third's answers are as long as each other


PROMPTS = Exercise(
    title="A prompt that counts",
    level="hard",
    minutes=20,
    hints=(
        "In a sum the prompt adds the same number to both answers of a pair. In a mean it does not: it also changes what is "
        "divided by.",
        "The mean over prompt and answer is torch.cat([prompt, answer]).mean(). Take it for both answers, less what the means "
        "were before; once with log-probabilities, once with log-ratios. DPO's change is 0.",
    ),
    solution=shifts,
    cases=_texts,
    mistakes=(
        Mistake(_all_cancel, "The prompt cancels in DPO's sums only. A mean over more tokens is pulled to the prompt's mean, a short answer's more than a long one's."),
        Mistake(_before_the_chosen_only, "You count the prompt in the chosen answer only. It stands before both."),
        Mistake(_old_lengths, "You add the prompt's sum and divide by the answer's length. Whoever counts the prompt's tokens counts them in the length, too."),
        Mistake(_taken_off, "Your sign is wrong: the lead with the mistake, less the lead without."),
        Mistake(_new_leads, "Those are the leads with the mistake. Return by how much it changes them."),
        Mistake(_reference_for_all, "Your second number is made of log-ratios. SimPO has no reference."),
    ),
    tolerance=1e-7,
)  # fmt: skip


# ------------------------------------------------------------------------------------------ 9 · the price of length


def leads_less_length(lead: Tensor, longer: Tensor, kl_weight: float, price: float) -> Tensor:
    """What stands inside R-DPO's σ, (B,), so that the optimum is that of r(y) − price · |y|.

    lead (B,) is h in nats, longer (B,) by how many tokens the chosen answer is longer than the rejected one.
    """
    return kl_weight * lead + price * longer


def _paid_for_length(lead: Tensor, longer: Tensor, kl_weight: float, price: float) -> Tensor:
    return kl_weight * lead - price * longer


def _price_in_nats(lead: Tensor, longer: Tensor, kl_weight: float, price: float) -> Tensor:
    return kl_weight * (lead + price * longer)


def _paid_in_nats(lead: Tensor, longer: Tensor, kl_weight: float, price: float) -> Tensor:
    return kl_weight * (lead - price * longer)


def _either_way(lead: Tensor, longer: Tensor, kl_weight: float, price: float) -> Tensor:
    return kl_weight * lead + price * longer.abs()


def _longer_ones_only(lead: Tensor, longer: Tensor, kl_weight: float, price: float) -> Tensor:
    return kl_weight * lead + price * longer.clamp(min=0)


def _price_left_out(lead: Tensor, longer: Tensor, kl_weight: float, price: float) -> Tensor:
    return kl_weight * lead


LENGTHS = Exercise(
    title="The price of length",
    level="medium",
    minutes=15,
    hints=(
        "The labels follow r. The policy wanted is π_ref exp((r − α|y|)/β)/Z. Solve that for r, as in the derivation of DPO.",
        "r = β log(π/π_ref) + α|y| + β log Z. The difference of two is what Bradley and Terry put inside σ: where the longer "
        "answer won, its length has already explained a part of the win.",
    ),
    solution=leads_less_length,
    cases=lambda: [
        (torch.tensor([2.0, 4.0, 0.0, -0.5]), torch.tensor([15.0, -18.0, 0.0, -3.0]), 0.1, 0.02),
        (torch.tensor([2.0, 4.0, 0.0, -0.5]), torch.tensor([15.0, -18.0, 0.0, -3.0]), 1.0, 0.5),
    ],
    mistakes=(
        Mistake(_paid_for_length, "With this sign the policy has to lead by more where the longer answer won, and by less where the shorter did: it is paid for length. Solve for r once more; α|y| goes to the other side."),
        Mistake(_price_in_nats, "β multiplies your price. α is in units of the reward, as β h is."),
        Mistake(_paid_in_nats, "Two things: the price has the wrong sign, and β multiplies it. Solve π ∝ π_ref exp((r − α|y|)/β) for r."),
        Mistake(_either_way, "Your term has the same sign whichever answer is longer. Where the shorter one won, its length explains nothing of the win."),
        Mistake(_longer_ones_only, "You count the length only where the longer answer won. A win of the shorter one says more, too: there the term is below 0."),
        Mistake(_price_left_out, "That is DPO's lead: the length is missing."),
    ),
)  # fmt: skip
