"""A causal language model and its tokenizer, from a hub name or a local folder, checked to fit together."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from rlhf_mini.data.tokenizer import PAD


def load_causal_lm(name_or_folder: str | os.PathLike[str]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Any causal language model that `transformers` knows, in float32 and eval mode, with its tokenizer.

    A tokenizer without a pad token of its own (none, or the end token used twice) is given one, and the model
    an embedding for it where there is no spare one. Weights load as safetensors only; code that comes with a
    model is not run. Raises ValueError if model or tokenizer cannot be loaded, or do not fit together.
    """
    path = Path(name_or_folder)
    if (path.is_absolute() or str(name_or_folder).startswith(".")) and not path.is_dir():
        raise ValueError(f"the folder {path} does not exist; give an existing one, or a hub name")
    bars_were_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            name_or_folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(name_or_folder)
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ValueError(
            f"cannot load a causal language model and its tokenizer from {str(name_or_folder)!r}: {reason}. "
            "Give a hub name (with a network), or a folder with config.json, model.safetensors and tokenizer"
        ) from error
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
    if tokenizer.eos_token_id is None:
        raise ValueError(
            "the tokenizer has no end token, so that answers could not end; set tokenizer.eos_token"
        )


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


def _give_pad_token(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.add_special_tokens({"pad_token": PAD})
        if len(tokenizer) > model.get_input_embeddings().num_embeddings:
            model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.config.pad_token_id = tokenizer.pad_token_id
