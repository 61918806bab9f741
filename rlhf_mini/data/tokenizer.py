"""A byte-level BPE tokenizer with the five control tokens that a chat needs, and the way in and out of it.

Byte-level means that any text whatever can be written and read back exactly; there is no unknown token. The
pad token is a token of its own, never the end token: were they one, a model would learn nothing about where
to stop.
"""

from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

PAD, BEGIN, END, USER, ASSISTANT = "<|pad|>", "<|begin|>", "<|end|>", "<|user|>", "<|assistant|>"
CONTROL_TOKENS = (PAD, BEGIN, END, USER, ASSISTANT)
SMALLEST_VOCABULARY = len(CONTROL_TOKENS) + 256  # one token for every byte

# <|begin|><|user|>question<|assistant|>answer<|end|><|user|>question<|assistant|>answer<|end|> …
CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- for message in messages -%}
    {%- if message['role'] == 'user' -%}
        {{- '<|user|>' + message['content'] -}}
    {%- elif message['role'] == 'assistant' -%}
        {{- '<|assistant|>' + message['content'] + eos_token -}}
    {%- else -%}
        {{- raise_exception("this chat knows the roles user and assistant, not '" + message['role'] + "'") -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|assistant|>' -}}
{%- endif -%}
"""


def train_tokenizer(texts: Iterable[str], *, vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer for `texts` with chat template and at most `vocab_size` tokens.

    The same texts give the same tokenizer. Fewer tokens come out where the texts offer no more pairs to
    merge, so size the model by `len(tokenizer)`. Raises ValueError if `vocab_size` is below 261, the 256
    bytes and five controls.

    >>> tokenizer = train_tokenizer(["a cat sat on a mat"], vocab_size=261)
    >>> tokenizer.decode(tokenizer.encode("Grüße 🐈"))
    'Grüße 🐈'
    """
    if vocab_size < SMALLEST_VOCABULARY:
        raise ValueError(
            f"vocab_size must be at least {SMALLEST_VOCABULARY} (256 bytes and {len(CONTROL_TOKENS)} "
            f"control tokens), got {vocab_size}"
        )
    if isinstance(texts, str):
        raise ValueError("texts must be several strings, got a single one; put it into a list")
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(CONTROL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        bos_token=BEGIN,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        padding_side="right",
    )


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """The tokens of one user turn, ready for the model to answer: `<|begin|><|user|>prompt<|assistant|>`.

    With another tokenizer its own chat template is used, or, where it has none (a base model's), the plain
    text after its begin token. Raises ValueError if the text spells a control token: it would change who
    seems to be speaking.
    """
    spelled = [token for token in tokenizer.all_special_tokens if token in prompt]
    if spelled:
        raise ValueError(
            f"the prompt {prompt[:60]!r} spells the control token {spelled[0]!r}; remove or rewrite it"
        )
    if tokenizer.chat_template is None:
        begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        return begin + encode_text(tokenizer, prompt)
    messages = [{"role": "user", "content": prompt}]
    return tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=False
    )


def encode_response(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The tokens of an answer and the end token after it."""
    return [*encode_text(tokenizer, text), tokenizer.eos_token_id]


def decode_response(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> str:
    """The text that `tokens` say, up to the first end token; control tokens are left out."""
    tokens = list(tokens)
    if tokenizer.eos_token_id in tokens:
        tokens = tokens[: tokens.index(tokenizer.eos_token_id)]
    return tokenizer.decode(tokens, skip_special_tokens=True)


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The tokens of plain text: nothing is added, and a control token spelled in the text is only letters."""
    return tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True, verbose=False)
