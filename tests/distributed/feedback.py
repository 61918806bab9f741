"""Methods that learn from given feedback: reward models, and DPO with its relatives."""

import torch
from torch import Tensor, nn

from rlhf_mini.batch import Pairs, Rankings, Ratings, pack_rows
from rlhf_mini.losses import ipo_loss
from rlhf_mini.methods.dpo import DPOConfig, dpo, kept_reference, train_on_pairs
from rlhf_mini.methods.reward_model import (
    RewardModelConfig,
    train_on_rankings,
    train_on_ratings,
    train_reward_model,
)
from rlhf_mini.models import freeze
from tests.distributed.small import (
    ADAMW,
    PAD,
    Result,
    language_model,
    reward_model,
    seeded,
    some_pairs,
    texts,
    tuned,
)


def pairwise_rewards() -> Result:
    model = reward_model()
    margin, weight = torch.rand(15, generator=seeded(1)), torch.rand(15, generator=seeded(2))
    config = RewardModelConfig(**tuned())
    pairs = some_pairs(margin=margin, weight=weight)

    def loss(chosen: Tensor, rejected: Tensor, margin: Tensor) -> Tensor:
        return -nn.functional.logsigmoid(chosen - rejected - margin)

    return train_reward_model(model, pairs, config=config, generator=seeded(), loss=loss), {"model": model}


def ranked_rewards() -> Result:
    model, rankings = reward_model(), Rankings(texts(27, seed=3), k=3)
    config = RewardModelConfig(epochs=1, batch=3, optimizer=ADAMW)
    return train_on_rankings(model, rankings, config=config, generator=seeded()), {"model": model}


def rated_rewards() -> Result:
    model = reward_model()
    ratings = Ratings(texts(15, seed=3), torch.rand(15, generator=seeded()))
    config = RewardModelConfig(**tuned())
    return train_on_ratings(model, ratings, config=config, generator=seeded()), {"model": model}


def soft_labelled_rewards() -> Result:
    from rlhf_mini.methods.soft_labels import SoftPairs, train_on_soft_labels

    model, both = reward_model(), some_pairs()
    pairs = SoftPairs(both.chosen, both.rejected, torch.rand(15, generator=seeded()))
    config = RewardModelConfig(**tuned())
    return train_on_soft_labels(model, pairs, config=config, generator=seeded()), {"model": model}


def direct_preferences() -> Result:
    model, pairs = language_model(), some_pairs()
    config = DPOConfig(**tuned())
    return dpo(model, freeze(language_model(1)), pairs, kl_weight=0.3, config=config, generator=seeded()), {
        "policy": model
    }


def identity_preferences() -> Result:
    model, pairs = language_model(), some_pairs()
    kept = kept_reference(freeze(language_model(1)), pairs)
    log = train_on_pairs(
        model,
        pairs,
        kept,
        lambda pair: ipo_loss(*pair.mean_log_ratios, kl_weight=0.3),
        config=DPOConfig(**tuned()),
        generator=seeded(),
    )
    return log, {"policy": model}


def masked_preferences() -> Result:
    from rlhf_mini.methods.masked_dpo import masked_dpo

    model, rows = language_model(), [texts(15, seed=seed, longest=9) for seed in (1, 2)]
    longer = [  # an answer of a single token would have nothing left without its last
        pack_rows(
            [t[m & ~r].tolist() for t, m, r in zip(s.tokens, s.mask, s.response, strict=True)],
            [[1, *t[r].tolist()] for t, r in zip(s.tokens, s.response, strict=True)],
            pad_token=PAD,
        )
        for s in rows
    ]
    log = masked_dpo(
        model,
        freeze(language_model(1)),
        Pairs(*longer),
        kl_weight=0.3,
        nll_weight=0.2,
        config=DPOConfig(**tuned()),
        generator=seeded(),
    )
    return log, {"policy": model}


def unpaired_preferences() -> Result:
    from rlhf_mini.methods.kto import Labelled, kto

    model = language_model()
    labelled = Labelled(texts(15, seed=1), torch.rand(15, generator=seeded()) < 0.5)
    log = kto(
        model,
        freeze(language_model(1)),
        labelled,
        kl_weight=0.3,
        undesirable_weight=1.3,
        config=DPOConfig(**tuned()),
        generator=seeded(),
    )
    return log, {"policy": model}


def odds_ratios() -> Result:
    from rlhf_mini.methods.orpo import InverseRootConfig, ORPOConfig, orpo

    model = language_model()
    schedule = InverseRootConfig(learning_rate=1e-2, warmup_steps=2)
    config = ORPOConfig(epochs=1, batch=5, odds_weight=0.5, optimizer=schedule)
    return orpo(model, some_pairs(), config=config, generator=seeded()), {"policy": model}


def rounds_of_rpo() -> Result:
    from rlhf_mini.methods.iterated_rpo import RPOConfig, ScoredPairs, iterated_rpo

    model = language_model()
    scored = ScoredPairs(some_pairs(), *torch.rand(2, 15, generator=seeded()))
    config = RPOConfig(rounds=2, training=DPOConfig(**tuned()), kl_weight=0.5, sft_weight=0.1)
    # Not renewed: at a round's start the two would be equal, and `accuracy` a matter of rounding.
    reference = freeze(language_model(1))
    log = iterated_rpo(model, scored, config=config, generator=seeded(), fixed_reference=reference)
    return [entry for one in log for entry in one], {"policy": model}
