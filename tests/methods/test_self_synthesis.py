"""Self-synthesis: what stands around a user's turn, which models can write one, what the filters leave."""

import math

import pytest
import torch
from tokenizers.processors import TemplateProcessing

import rlhf_mini.methods.self_synthesis as module
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.data.tokenizer import BEGIN, END, USER, encode_prompt, train_tokenizer
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.self_synthesis import (
    SynthesisConfig,
    around_user,
    filtered,
    self_synthesise,
    whole_dialogues,
    write_prompts,
)
from rlhf_mini.methods.sft import SFTConfig, sft
from rlhf_mini.models import new_llama
from tests.methods.hub_formats import FORMATS

ASKED = {"a fox?": "red.", "an owl?": "grey.", "a cat?": "black."}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([*ASKED, *ASKED.values()] * 5, vocab_size=300)


def tuned(tokenizer, *, whole: bool):
    """A model that has learned three questions with their answers, or the answers alone."""
    model = new_llama(
        vocab_size=len(tokenizer),
        width=32,
        layers=1,
        heads=2,
        context=32,
        pad_token=tokenizer.pad_token_id,
        eos_token=tokenizer.eos_token_id,
        bos_token=tokenizer.bos_token_id,
        seed=0,
    )
    rows = pack_texts(tokenizer, [*ASKED] * 4, [*ASKED.values()] * 4)
    config = SFTConfig(epochs=150, batch=12, optimizer=OptimizerConfig(learning_rate=5e-3, warmup_steps=10))
    sft(model, whole_dialogues(rows) if whole else rows, config=config, generator=seeded())
    return model


@pytest.fixture(scope="module")
def model(tokenizer):
    return tuned(tokenizer, whole=True)


def test_what_stands_around_a_user_s_words():
    for name, before, after in [
        ("own", "<|begin|><|user|>", "<|assistant|>"),
        ("chatml", "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"),
    ]:
        tokenizer = FORMATS[name]()[1]
        parts = around_user(tokenizer)
        assert [tokenizer.decode(part) for part in parts] == [before, after]
    own = FORMATS["own"]()[1]
    assert around_user(own)[0] == own.convert_tokens_to_ids([BEGIN, USER])
    first, last = around_user(own)
    assert [*first, *own.encode("A or B?"), *last] == encode_prompt(own, "A or B?")


def test_a_tokenizer_that_begins_every_text_anew_adds_nothing_around_the_user():
    tokenizer = FORMATS["own"]()[1]
    expected = around_user(tokenizer)
    begin = tokenizer.convert_tokens_to_ids(BEGIN)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, begin)]
    )
    assert tokenizer.encode("a fox?")[0] == begin
    assert around_user(tokenizer) == expected


def test_a_base_model_has_no_user():
    with pytest.raises(ValueError, match="no chat template"):
        around_user(FORMATS["base"]()[1])


@pytest.mark.parametrize(
    "template",
    [
        "{{ '<|begin|>' + messages[0]['content'] }}",  # nothing says where the answer begins
        "{{ messages[0]['content'] + '<|assistant|>' }}",  # nor where the user's turn does
    ],
)
def test_a_template_must_stand_on_both_sides_of_the_user_s_words(template):
    tokenizer = FORMATS["own"]()[1]
    tokenizer.chat_template = template
    with pytest.raises(ValueError, match="must put tokens before and after the user's words"):
        around_user(tokenizer)


def test_turns_are_sampled_in_batches_up_to_where_the_template_goes_on(monkeypatch):
    model, tokenizer = FORMATS["chatml"]()
    before, after = around_user(tokenizer)
    assert len(after) > 1
    sizes, original = [], module.sample

    def watched(model, prompts, **options):
        assert prompts == [before] * len(prompts)
        assert options["stop_tokens"] == [after[0], tokenizer.eos_token_id]
        assert options["pad_token"] == tokenizer.pad_token_id
        assert options["temperature"] == 0.5
        sizes.append(len(prompts))
        return original(model, prompts, **options)

    monkeypatch.setattr(module, "sample", watched)
    write_prompts(model, tokenizer, 5, max_new_tokens=4, temperature=0.5, generator=seeded(), batch=2)
    assert sizes == [2, 2, 1]


def test_what_a_turn_says_is_read_without_its_end_and_without_control_tokens(tokenizer):
    words, (user, end) = tokenizer.encode("a fox?"), tokenizer.convert_tokens_to_ids([USER, END])
    stops = torch.tensor([user, end])
    rows = [[*words, end], [*words, user], [user, *words, end], [*words[:-1], 7, 7], [end]]
    width = max(map(len, rows))
    tokens = torch.tensor([[9] + row + [0] * (width - len(row)) for row in rows])
    response = torch.tensor([[False] + [True] * len(row) + [False] * (width - len(row)) for row in rows])
    assert module._ended(tokenizer, tokens, response, stops) == ["a fox?"] * 3 + [""]


def test_a_model_that_learned_whole_dialogues_writes_the_user_s_turn(model, tokenizer):
    written = write_prompts(
        model, tokenizer, 200, max_new_tokens=12, temperature=1.0, generator=seeded(), batch=64
    )
    right = [text for text in written if text in ASKED]
    assert len(right) > 180
    # each a third: 67 of 200, and 4 standard deviations of 6.7
    assert all(40 <= right.count(prompt) <= 94 for prompt in ASKED)
    again = write_prompts(
        model, tokenizer, 200, max_new_tokens=12, temperature=1.0, generator=seeded(), batch=64
    )
    assert again == written


def test_a_model_that_learned_answers_alone_cannot(tokenizer):
    answers_only = tuned(tokenizer, whole=False)
    written = write_prompts(
        answers_only, tokenizer, 200, max_new_tokens=12, temperature=1.0, generator=seeded()
    )
    assert sum(text in ASKED for text in written) < 20


def test_turns_that_do_not_end_are_dropped(model, tokenizer):
    assert write_prompts(model, tokenizer, 20, max_new_tokens=1, temperature=1.0, generator=seeded()) == []


def test_synthesis_asks_each_prompt_once_and_counts(model, tokenizer):
    config = SynthesisConfig(prompt_tokens=12, answer_tokens=8, answer_temperature=0.0)
    made = self_synthesise(
        model,
        tokenizer,
        60,
        config=config,
        filters={
            "asked": lambda prompt, text: prompt in ASKED,
            "no fox": lambda prompt, text: "fox" not in prompt,
        },
        generator=seeded(),
    )
    assert dict(zip(made.prompts, made.answers, strict=True)) == {"an owl?": "grey.", "a cat?": "black."}
    assert made.drawn == 60
    assert made.passed["usable"] >= made.passed["asked"] == 3
    assert made.passed["no fox"] == 2 == len(made)
    assert list(made.passed) == ["usable", "asked", "no fox"]


def test_only_usable_prompts_are_answered_each_once(model, tokenizer, monkeypatch):
    turns = ["a cat?", "", "a fox?", "a cat?", f"a fox?{USER}", f"{END} a cat?"]
    monkeypatch.setattr(module, "write_prompts", lambda *given, **options: turns)
    config = SynthesisConfig(prompt_tokens=1, answer_tokens=8, answer_temperature=0.0)
    made = self_synthesise(model, tokenizer, 6, config=config, filters={}, generator=seeded())
    assert (made.prompts, made.answers) == (["a cat?", "a fox?"], ["black.", "red."])
    assert (made.drawn, made.passed) == (6, {"usable": 2})
    turns.clear()
    made = self_synthesise(model, tokenizer, 6, config=config, filters={}, generator=seeded())
    assert (made.prompts, made.answers, made.passed) == ([], [], {"usable": 0})


def test_prompts_and_answers_are_drawn_at_their_own_temperatures_and_lengths(model, tokenizer, monkeypatch):
    asked = []

    def written(*given, **options):
        asked.append((options["max_new_tokens"], options["temperature"]))
        return ["a cat?"]

    def answered(*given, **options):
        asked.append((options["max_new_tokens"], options["temperature"]))
        return ["black."]

    monkeypatch.setattr(module, "write_prompts", written)
    monkeypatch.setattr(module, "answer", answered)
    for config in (
        SynthesisConfig(prompt_tokens=1, answer_tokens=2, prompt_temperature=0.25, answer_temperature=0.5),
        SynthesisConfig(prompt_tokens=3, answer_tokens=1),
    ):
        self_synthesise(model, tokenizer, 6, config=config, filters={}, generator=seeded())
    assert asked == [(1, 0.25), (2, 0.5), (3, 1.0), (1, 1.0)]


def test_every_prompt_needs_its_answer():
    with pytest.raises(ValueError, match="shorter"):
        filtered(["p", "q"], ["a"], filters={}, drawn=2)


def test_filters_see_what_the_one_before_let_through():
    seen = []

    def second(prompt, text):
        seen.append((prompt, text))
        return False

    kept = filtered(
        ["p", "q", "r"], ["a", "b", "c"], filters={"one": lambda p, a: p != "q", "two": second}, drawn=9
    )
    assert seen == [("p", "a"), ("r", "c")]
    assert (kept.prompts, kept.answers, kept.drawn) == ([], [], 9)
    assert kept.passed == {"usable": 3, "one": 2, "two": 0}


def test_whole_dialogues_count_all_but_the_first_token(tokenizer):
    rows = whole_dialogues(pack_texts(tokenizer, ["a fox?", "a cat?"], ["red.", "black. black."]))
    assert not rows.response[:, 0].any()
    assert torch.equal(rows.response[:, 1:], rows.mask[:, 1:])
    assert (rows.tokens[rows.response] == tokenizer.convert_tokens_to_ids(END)).sum() == 2


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"prompt_tokens": 0, "answer_tokens": 3}, "at least 1"),
        ({"prompt_tokens": 3, "answer_tokens": 0}, "at least 1"),
        ({"prompt_tokens": 3, "answer_tokens": 3, "prompt_temperature": -0.5}, "got -0.5"),
        ({"prompt_tokens": 3, "answer_tokens": 3, "answer_temperature": math.inf}, "got inf"),
    ],
)
def test_settings_out_of_range_are_refused(numbers, message):
    with pytest.raises(ValueError, match=message):
        SynthesisConfig(**numbers)
