"""Methods that predict texts, or tell them apart: pretraining, fine-tuning, other objectives."""

import torch
from torch import Tensor

from rlhf_mini.loop import fit
from rlhf_mini.losses import next_token_loss
from rlhf_mini.methods.sft import SFTConfig, sft
from rlhf_mini.tensors import masked_mean
from tests.distributed.small import ADAMW, PAD, WORDS, Result, endless, language_model, seeded, texts, tuned


def pretraining() -> Result:
    from rlhf_mini.methods.pretrain import PretrainConfig, block_batches, pretrain, stream_loss

    model, stream = language_model(), torch.randint(1, WORDS, (300,), generator=seeded())
    config = PretrainConfig(steps=3, batch=3, block=16, optimizer=ADAMW)
    log = pretrain(model, block_batches(stream, config=config, generator=seeded()), config=config)
    return [*log, {"held out": stream_loss(model, stream, block=16, context=4, batch=5)}], {"policy": model}


def fine_tuning() -> Result:
    from rlhf_mini.methods.sft import response_loss

    model, rows = language_model(), texts(15, seed=0)
    log = sft(model, rows, config=SFTConfig(**tuned()), generator=seeded())
    return [*log, {"held out": response_loss(model, rows, batch=7)}], {"policy": model}


def packed_fine_tuning() -> Result:
    from rlhf_mini.data.packed import pack_several, packed_logp

    model = language_model()
    rows = pack_several(texts(9, seed=0), width=20, pad_token=PAD)
    assert len(rows) > 2

    def loss_fn(batch: object) -> tuple[Tensor, dict[str, Tensor]]:
        return masked_mean(next_token_loss(packed_logp(model, rows)), rows.response), {}

    return fit(model, [None] * 3, loss_fn, optimizer=ADAMW, steps=3), {"policy": model}


def mixed_fine_tuning() -> Result:
    from rlhf_mini.methods.mixed_batches import fine_tune_mixed

    model, weights = language_model(), torch.rand(15, generator=seeded())
    config = SFTConfig(**tuned())
    log = fine_tune_mixed(model, texts(15, seed=0), config=config, generator=seeded(), weights=weights)
    return log, {"policy": model}


def rehearsal() -> Result:
    from rlhf_mini.methods.rehearsal import RehearsalConfig, sft_with_rehearsal

    model = language_model()
    log = sft_with_rehearsal(
        model,
        texts(15, seed=0),
        texts(9, seed=5),
        config=SFTConfig(**tuned()),
        rehearsal=RehearsalConfig(documents_per_step=3, document_weight=0.7),
        generator=seeded(),
    )
    return log, {"policy": model}


def scheduled_sampling() -> Result:
    from rlhf_mini.methods.scheduled_sampling import linear_schedule, sft_with_scheduled_sampling

    model = language_model()
    log = sft_with_scheduled_sampling(
        model,
        texts(15, seed=0),
        config=SFTConfig(**tuned()),
        schedule=linear_schedule(slope=0.3, least=0.1),
        generator=seeded(),
    )
    return log, {"policy": model}


def masked_language_modelling() -> Result:
    from rlhf_mini.methods.masked_lm import masked_batches, masked_lm

    model = language_model()
    holes = masked_batches(endless(), rate=0.4, mask_token=3, words=WORDS, generator=seeded())
    return masked_lm(model, holes, steps=3, optimizer=ADAMW), {"policy": model}


def denoising() -> Result:
    from rlhf_mini.methods.denoising import denoise, new_t5, noisy_batches

    model = new_t5(
        vocab_size=WORDS + 1, width=16, layers=1, heads=2, feed_forward=32, pad_token=PAD, seed=0
    ).double()
    noisy = noisy_batches(endless(), rate=0.3, mask_token=3, pad_token=PAD, generator=seeded())
    return denoise(model, noisy, steps=3, optimizer=ADAMW), {"model": model}


def contrastive_sentences() -> Result:
    from rlhf_mini.methods.simcse import simcse

    model = language_model()
    return simcse(model, endless(), steps=3, optimizer=ADAMW, generator=seeded()), {"encoder": model}


def retrieval() -> Result:
    from rlhf_mini.methods.dense_retrieval import dense_retrieval

    one, other = language_model(0), language_model(1)
    both = ((texts(5, seed=step), texts(5, seed=step + 50)) for step in range(3))
    log = dense_retrieval(one, other, both, steps=3, optimizer=ADAMW)
    return log, {"questions": one, "passages": other}
