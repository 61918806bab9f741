"""The five questions of chapter 13: every number and every statement in them is one of the recipe files'."""

import re

import pytest

from rlhf_mini.chapters.published.quiz import QUIZ
from rlhf_mini.reader import quiz
from rlhf_mini.recipes.registry import RECIPES

ABOUT = (  # the recipes that each question is about
    ("deepseek_v2", "qwen2", "claude3", "gemma2"),
    ("gpt4", "zephyr_orpo", "llama3"),
    ("nemotron4",),
    ("internlm2", "deepseek_v2", "starling"),
    ("o1",),
)
HELD = {  # what the answers lean on, by question and recipe: an entry of the recipe, and words in it
    (0, "deepseek_v2"): ("set_right", "these are DeepSeekMath's; this report states neither"),
    (0, "qwen2"): ("set_right", "150,000 pairs at a rate of 7e-7 are Qwen2.5's settings"),
    (0, "claude3"): ("set_right", "the 182,831 prompts are CAI's; the card prints no size"),
    (0, "gemma2"): ("set_right", "an early wording of the report on Gemma 1 says so of Gemma 1.0"),
    (1, "gpt4"): ("set_right", "the 82% are credited to a combination of measures, not to RBRMs"),
    (1, "zephyr_orpo"): (
        "reported",
        "125M, 350M, 1.3B on HH, wins over DPO by a reward model: 41.7, 49.4, 70.9%",
    ),
    (1, "llama3"): ("set_right", "averages are of siblings within one stage"),
    (2, "nemotron4"): ("set_right", "their pairs differ, in number too"),
    (3, "internlm2"): ("left_out", "what either path contributes"),
    (3, "deepseek_v2"): ("left_out", "what each stage contributes"),
    (3, "starling"): ("rounds", "answers, rankings and reward model are not renewed"),
    (4, "o1"): ("set_right", "these are of 64 samples; of one sample, 74.4 against 9.3"),
}


def told(name):
    """All that a recipe says of its report, as one text."""
    recipe = RECIPES[name]
    entries = ("title", "report", "data", "reward", "optimiser", "anchor", "rounds")
    return " ".join(
        [*(getattr(recipe, one) for one in entries), *recipe.reported, *recipe.left_out, *recipe.set_right]
    )


def numbers_in(text):
    """Numbers as they are written, without the points and commas that end a clause."""
    return set(re.findall(r"\d+(?:[.,]\d+)*(?:e-\d+)?", text))


def test_the_quiz_is_no_giveaway():
    assert len(QUIZ) == 5
    assert len({question.right for question in QUIZ}) >= 4
    assert quiz(QUIZ).text.count("\n") >= 5 * 3


def test_the_longest_option_is_not_always_the_right_one():
    longest = [max(range(len(q.options)), key=lambda i, q=q: len(q.options[i][0])) for q in QUIZ]
    assert sum(place == q.right for place, q in zip(longest, QUIZ, strict=True)) <= 3


def test_the_right_answers_are_the_right_ones():
    """By words that stand in no wrong option of their question; the right one's reason begins with Yes."""
    words = (
        "from another paper",
        "from the pre-trained model",
        "on other pairs",
        "was lower",
        "of 64 samples",
    )
    for question, word in zip(QUIZ, words, strict=True):
        for place, (option, why) in enumerate(question.options):
            assert (word in option) == (place == question.right)
            assert why.startswith(("Yes. ", "Yes: ")) == (place == question.right)


@pytest.mark.parametrize("number", range(5))
def test_every_number_of_a_question_stands_in_the_recipes_that_it_is_about(number):
    question = QUIZ[number]
    asked = " ".join([question.ask, *(part for option in question.options for part in option)])
    held = " ".join(told(name) for name in ABOUT[number])
    names = {"2", "3", "4", "4o", "1"}  # of systems
    assert numbers_in(asked) - names <= numbers_in(held) | numbers_in(" ".join(RECIPES))


@pytest.mark.parametrize(("number", "name"), HELD)
def test_the_answers_lean_on_what_the_recipe_files_hold(number, name):
    entry, words = HELD[number, name]
    found = getattr(RECIPES[name], entry)
    assert words.lower() in (found if isinstance(found, str) else " ".join(found)).lower()


def test_every_recipe_that_a_question_is_about_is_leant_on():
    assert {*HELD} == {(number, name) for number, names in enumerate(ABOUT) for name in names}


def test_what_is_not_stated_is_not_stated():
    """The four reports of the first question, and the KL weights of the fourth."""
    assert "Every number of the reinforcement learning" in RECIPES["deepseek_v2"].left_out[0]
    assert {
        "β, rates, batch, K and the number of episodes, of either stage",
        "The number of preference pairs",
    } <= {*RECIPES["qwen2"].left_out}
    assert "Of Claude 3: sizes" in RECIPES["claude3"].left_out[0]
    assert "The algorithm of reinforcement learning" in RECIPES["gemma2"].left_out[0]
    assert "KL 0.01" in RECIPES["internlm2"].anchor
    assert "β, and which model is π_ref, not stated" in RECIPES["deepseek_v2"].anchor
    assert "not stated" in RECIPES["starling"].anchor


def test_what_fell_and_what_rose_in_the_fourth_question():
    """“before → after”, or “after, was before” on the model card, read from the recipes."""

    def change(name, benchmark):
        text = " ".join(RECIPES[name].reported)
        arrow = re.search(rf"{benchmark} (\d+(?:\.\d+)?) → (\d+(?:\.\d+)?)", text)
        if arrow:
            return float(arrow[2]) - float(arrow[1])
        card = re.search(rf"{benchmark}: (\d+(?:\.\d+)?), was (\d+(?:\.\d+)?)", text)
        return float(card[1]) - float(card[2])

    fell = {"internlm2": "IFEval", "deepseek_v2": "BBH:", "starling": "MMLU"}
    for name, benchmark in fell.items():
        benchmark = benchmark.strip(":")
        assert change(name, benchmark) < 0
        assert change(name, "MT-Bench") > 0


def test_of_llama_3_s_rounds():
    rounds, optimiser = RECIPES["llama3"].rounds, RECIPES["llama3"].optimiser
    assert "what goes from round to round is data. The reward model sees all pairs, DPO the latest" in rounds
    assert "SFT from the pre-trained model" in optimiser
    assert "starts from the pre-trained model again" in " ".join(RECIPES["llama3"].set_right)


def test_the_variant_that_the_third_question_names_is_there():
    assert "DPO in every round" in RECIPES["nemotron4"].variants
    why = QUIZ[2].options[QUIZ[2].right][1]
    assert "“DPO in every round”" in why
