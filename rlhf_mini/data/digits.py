"""A tokenizer with one token a character, for worlds whose texts are spelled out digit by digit.

What merges do to numbers is a subject of its own: with byte pairs, 27 may be one token and 28 two, and a
column of digits is no longer a column of tokens. Control tokens and chat are those of ``data.tokenizer``, so
that all that works with one tokenizer works with the other.
"""

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from rlhf_mini.data.tokenizer import ASSISTANT, BEGIN, CHAT_TEMPLATE, CONTROL_TOKENS, END, PAD, USER

DIGITS = "0123456789"


def character_tokenizer(characters: str) -> PreTrainedTokenizerFast:
    """A tokenizer for texts of these characters alone: the five controls, then one token for each character.

    It is saved and loaded by `transformers`. There is no unknown token: a text with any other character is an
    error of the tokenizer, and not a text with holes. Raises ValueError if a character occurs twice, or there
    is none.

    >>> tokenizer = character_tokenizer(DIGITS + "+=")
    >>> len(tokenizer), tokenizer.encode("27+58"), tokenizer.decode(tokenizer.encode("27+58"))
    (17, [7, 12, 15, 10, 13], '27+58')
    """
    twice = sorted({character for character in characters if characters.count(character) > 1})
    if not characters or twice:
        raise ValueError(
            f"characters must be different ones, at least one; received {characters!r}"
            + (f", in which {twice[0]!r} occurs twice" if twice else "")
        )
    spelled = [*CONTROL_TOKENS, *characters]
    backend = Tokenizer(models.WordLevel({token: number for number, token in enumerate(spelled)}))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    backend.decoder = decoders.Fuse()  # nothing between the characters
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        bos_token=BEGIN,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        padding_side="right",
    )
