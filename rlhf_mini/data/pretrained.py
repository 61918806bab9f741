"""A causal language model and its tokenizer, from a hub name or a local folder, checked to fit together."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from rlhf_mini.data.tokenizer import PAD

DTYPES = (torch.float32, torch.bfloat16)


def load_causal_lm(
    name_or_folder: str | os.PathLike[str], *, dtype: torch.dtype = torch.float32
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Any causal language model that `transformers` knows, in `dtype` and eval mode, with its tokenizer.

    float32 is for training, on a GPU under autocast in bfloat16. Weights in bfloat16 take half the memory,
    but have eight bits of precision: a step of AdamW that is below 1/512 of a weight, as most are at a
    learning rate of 1e-5, is rounded away. They are for models that are only asked, or carry LoRA.

    A tokenizer without a pad token of its own (none, or the end token used twice) is given one, and the model
    an embedding for it where there is no spare one. Weights load as safetensors only; code that comes with a
    model is not run. Raises ValueError if model or tokenizer cannot be loaded, or do not fit together, and
    for another type of numbers (float16 has too small a range to be trained without scaling the loss).
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be torch.float32 or torch.bfloat16, got {dtype}")
    check_folder(name_or_folder)
    bars_were_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            name_or_folder, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(name_or_folder)
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        raise _cannot_load(name_or_folder, error) from error
    finally:
        if bars_were_on:
            logging.enable_progress_bar()
    if report["missing_keys"]:
        raise ValueError(
            f"{str(name_or_folder)!r} lacks weights that a causal language model needs: "
            f"{', '.join(sorted(report['missing_keys'])[:3])}, …; is it a model of another kind?"
        )
    check_tokenizer(model, tokenizer)
    _give_pad_token(model, tokenizer)
    return model.eval(), tokenizer


def load_tokenizer(
    name_or_folder: str | os.PathLike[str],
) -> tuple[PreTrainedConfig, PreTrainedTokenizerBase]:
    """A model's configuration and tokenizer, as `load_causal_lm` will have them, without its weights.

    What can be known beforehand is known from them: parameters, context, whether rows fit. Raises ValueError
    where `load_causal_lm` would, as far as that can be told without the weights.
    """
    check_folder(name_or_folder)
    try:
        config = AutoConfig.from_pretrained(name_or_folder)
        tokenizer = AutoTokenizer.from_pretrained(name_or_folder)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise _cannot_load(name_or_folder, error) from error
    _check_end(tokenizer)
    _add_pad_token(tokenizer)
    config.pad_token_id = tokenizer.pad_token_id
    config.vocab_size = max(config.vocab_size, len(tokenizer))
    return config, tokenizer


def check_tokenizer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise ValueError unless the model has an embedding for every token, and the tokenizer an end token.

    More embeddings than tokens are in order: many models pad their vocabulary to a round number.
    """
    embeddings = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > embeddings:
        raise ValueError(
            f"the tokenizer has {len(tokenizer)} tokens and the model embeddings for {embeddings}: they "
            "do not belong together; load both from one place"
        )
    _check_end(tokenizer)


def check_lengths(rows: Iterable[Sequence[int]], *, context: int, new_tokens: int = 0) -> None:
    """Raise ValueError for the first row that, with `new_tokens` after it, is longer than the context.

    >>> check_lengths([[1, 2], [1, 2, 3]], context=4, new_tokens=2)
    Traceback (most recent call last):
    ValueError: row 2 has 3 tokens, and with 2 new ones it exceeds the context of 4. Shorten ...
    """
    for number, row in enumerate(rows, start=1):
        if len(row) + new_tokens > context:
            following = f", and with {new_tokens} new ones it" if new_tokens else ": it"
            raise ValueError(
                f"row {number} has {len(row)} tokens{following} exceeds the context of {context}. "
                "Shorten it, leave it out, or use a model with a longer context"
            )


def check_folder(name_or_folder: str | os.PathLike[str]) -> None:
    """Raise ValueError for what is written as a path and is no folder; anything else may be a hub name."""
    path = Path(name_or_folder)
    if (path.is_absolute() or str(name_or_folder).startswith(".")) and not path.is_dir():
        raise ValueError(f"the folder {path} does not exist; give an existing one, or a hub name")


def _cannot_load(name_or_folder: str | os.PathLike[str], error: Exception) -> ValueError:
    reason = " ".join(str(error).split()).rstrip(".")
    return ValueError(
        f"cannot load a causal language model and its tokenizer from {str(name_or_folder)!r}: {reason}. "
        "Give a hub name (with a network), or a folder with config.json, model.safetensors and tokenizer"
    )


def _check_end(tokenizer: PreTrainedTokenizerBase) -> None:
    if tokenizer.eos_token_id is None:
        raise ValueError(
            "the tokenizer has no end token, so that answers could not end; set tokenizer.eos_token"
        )


def _add_pad_token(tokenizer: PreTrainedTokenizerBase) -> None:
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.add_special_tokens({"pad_token": PAD})


def _give_pad_token(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    _add_pad_token(tokenizer)
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.config.pad_token_id = tokenizer.pad_token_id
