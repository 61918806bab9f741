"""Models and tokenizers from a folder: what fits together loads, what does not is refused before any work."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from rlhf_mini.data.pretrained import check_lengths, load_causal_lm, load_tokenizer
from rlhf_mini.data.tokenizer import encode_prompt, train_tokenizer

TOKENIZER = train_tokenizer(["a fox"], vocab_size=262)


def llama(vocabulary: int) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlamaForCausalLM(config)


def gpt2(vocabulary: int) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=vocabulary, n_embd=8, n_layer=1, n_head=2, n_positions=16))


@pytest.mark.parametrize("make", [llama, gpt2])
@pytest.mark.parametrize("spare", [0, 50])
def test_a_saved_model_comes_back(tmp_path: Path, make: type, spare: int) -> None:
    saved: PreTrainedModel = make(len(TOKENIZER) + spare).eval()
    saved.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    model, tokenizer = load_causal_lm(tmp_path)
    assert type(model) is type(saved)
    assert (model.training, model.dtype) == (False, torch.float32)
    assert model.config.pad_token_id == tokenizer.pad_token_id == 0
    tokens = torch.tensor([encode_prompt(tokenizer, "a fox")])
    assert torch.equal(model(tokens).logits, saved(tokens).logits)


def test_loading_prints_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    llama(len(TOKENIZER)).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    capsys.readouterr()
    load_causal_lm(str(tmp_path))
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


@pytest.mark.parametrize("pad", [None, "<|end|>"])
@pytest.mark.parametrize("spare", [0, 3])
def test_a_missing_pad_token_is_added(tmp_path: Path, pad: str | None, spare: int) -> None:
    tokenizer = train_tokenizer(["a fox"], vocab_size=262)
    saved = llama(len(tokenizer) + spare).eval()
    tokenizer.backend_tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.pad_token = pad
    tokenizer.save_pretrained(tmp_path)
    saved.save_pretrained(tmp_path)
    model, loaded = load_causal_lm(tmp_path)
    assert loaded.pad_token == "<|pad|>"
    assert loaded.pad_token_id not in (None, loaded.eos_token_id)
    assert model.config.pad_token_id == loaded.pad_token_id < model.get_input_embeddings().num_embeddings


def test_a_new_pad_token_gets_a_new_embedding_where_none_is_spare(tmp_path: Path) -> None:
    words = Tokenizer(models.WordLevel({"[E]": 0, "hi": 1}, unk_token="hi"))
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="[E]").save_pretrained(tmp_path)
    saved = llama(3)
    saved.resize_token_embeddings(2)
    saved.config.update({"pad_token_id": None, "bos_token_id": None, "eos_token_id": 0})
    saved.generation_config.update(pad_token_id=None, bos_token_id=None, eos_token_id=0)
    saved.save_pretrained(tmp_path)
    model, tokenizer = load_causal_lm(tmp_path)
    assert (tokenizer.pad_token_id, len(tokenizer)) == (2, 3)
    assert model.get_input_embeddings().num_embeddings == 3
    assert model(torch.tensor([[0, 1, 2]])).logits.shape == (1, 3, 3)


def test_a_tokenizer_of_another_model(tmp_path: Path) -> None:
    llama(200).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match="has 262 tokens and the model embeddings for 200: they do not belong"
    ):
        load_causal_lm(tmp_path)


def test_a_tokenizer_without_an_end(tmp_path: Path) -> None:
    llama(262).save_pretrained(tmp_path)
    tokenizer = train_tokenizer(["a fox"], vocab_size=262)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="the tokenizer has no end token"):
        load_causal_lm(tmp_path)


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"cannot load a causal language model .+ config.json, model.safetensors"
    ):
        load_causal_lm(tmp_path)


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    for name in (tmp_path / "gone", "./gone"):
        with pytest.raises(ValueError, match="gone does not exist; give an existing one, or a hub name"):
            load_causal_lm(name)


def test_pickled_weights_are_not_opened(tmp_path: Path) -> None:
    model = llama(262)
    model.config.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"cannot load a causal language model .+safetensors"):
        load_causal_lm(tmp_path)


def test_damaged_weights(tmp_path: Path) -> None:
    llama(262).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cannot load a causal language model"):
        load_causal_lm(tmp_path)


def test_a_model_of_another_kind_is_not_filled_up_with_random_weights(tmp_path: Path) -> None:
    LlamaForSequenceClassification(llama(262).config).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"lacks weights that a causal language model needs: lm_head.weight"):
        load_causal_lm(tmp_path)


def test_weights_of_another_size(tmp_path: Path) -> None:
    llama(262).save_pretrained(tmp_path)
    llama(300).config.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="cannot load a causal language model"):
        load_causal_lm(tmp_path)


def test_a_prompt_longer_than_the_context() -> None:
    check_lengths([[1] * 4, [1] * 3], context=4)
    check_lengths([], context=4)
    with pytest.raises(ValueError, match=r"row 2 has 5 tokens: it exceeds the context of 4"):
        check_lengths([[1], [1] * 5], context=4)


def test_weights_in_bfloat16_and_no_other_type(tmp_path: Path) -> None:
    llama(262).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    assert load_causal_lm(tmp_path, dtype=torch.bfloat16)[0].dtype is torch.bfloat16
    with pytest.raises(ValueError, match=r"dtype must be torch\.float32 or .*, got torch\.float16"):
        load_causal_lm(tmp_path, dtype=torch.float16)


@pytest.mark.parametrize("spare", [0, 3])
def test_configuration_and_tokenizer_alone_are_those_that_the_model_will_have(
    tmp_path: Path, spare: int
) -> None:
    words = Tokenizer(models.WordLevel({"[E]": 0, "hi": 1}, unk_token="hi"))
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="[E]").save_pretrained(tmp_path)
    saved = llama(3)
    saved.resize_token_embeddings(2 + spare)
    saved.config.update({"pad_token_id": None, "bos_token_id": None, "eos_token_id": 0})
    saved.generation_config.update(pad_token_id=None, bos_token_id=None, eos_token_id=0)
    saved.save_pretrained(tmp_path)
    config, tokenizer = load_tokenizer(tmp_path)
    model, other = load_causal_lm(tmp_path)
    assert config.vocab_size == model.get_input_embeddings().num_embeddings
    assert config.pad_token_id == model.config.pad_token_id
    assert tokenizer.get_vocab() == other.get_vocab()
    with pytest.raises(ValueError, match="gone does not exist"):
        load_tokenizer(tmp_path / "gone")
