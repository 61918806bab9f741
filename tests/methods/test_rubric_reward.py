"""A rubric's class as an extra reward: what is asked, what each class is worth, and on which prompts."""

import pytest
import torch

from rlhf_mini.data.chat import pack_texts
from rlhf_mini.methods.judge import LanguageJudge, choose
from rlhf_mini.methods.rubric_reward import Rubric, classifying, with_rate, worth
from rlhf_mini.worlds.stories import plots
from rlhf_mini.worlds.stories.rubric import RUBRIC, is_unkind_request, rubric_class
from tests.methods.hub_formats import FORMATS

SHORT = Rubric(classes={"A": "refused", "B": "told"}, question="{prompt} {answer} {classes}")
HARMFUL = (lambda prompt: "unkind" in prompt, {"A": 1.0, "B": -1.0})
HARMLESS = (lambda prompt: "kind" in prompt, {"A": -0.5, "B": 0.0})  # "unkind" has "kind" in it, too


def sure_of(name: str):
    """A classifier that finds a class with 3/4, whatever it is shown, and the other with 1/4."""

    def classify(prompts, answers):
        row = [0.75 if name == known else 0.25 for known in SHORT.classes]
        return torch.tensor([row] * len(prompts))

    return classify


def test_the_expected_value_of_the_class_by_hand():
    rate = worth(sure_of("A"), SHORT, parts=(HARMFUL, HARMLESS))
    # unkind: ¾ − ¼ = ½; kind: −½ · ¾ = −⅜; of no part: 0
    assert rate(["unkind", "kind", "other"], ["x", "y", "z"]).tolist() == [0.5, -0.375, 0.0]
    assert worth(sure_of("B"), SHORT, parts=(HARMFUL,))(["unkind"], ["x"]).tolist() == [-0.5]


def test_only_prompts_of_a_part_are_classified_and_the_first_part_counts():
    seen = []

    def classify(prompts, answers):
        seen.append((prompts, answers))
        return torch.tensor([[1.0, 0.0]] * len(prompts))

    rate = worth(classify, SHORT, parts=(HARMFUL, HARMLESS))
    assert rate(["other", "unkind", "kind"], ["x", "y", "z"]).tolist() == [0.0, 1.0, -0.5]
    assert seen == [(["unkind", "kind"], ["y", "z"])]
    assert rate(["other"], ["x"]).tolist() == [0.0]
    assert len(seen) == 1  # nothing to ask


def test_values_must_name_the_classes():
    for values in ({"A": 1.0}, {"A": 1.0, "B": float("nan")}, {"A": 1.0, "B": 0.0, "C": 2.0}):
        with pytest.raises(ValueError, match=r"a finite value for each of the classes \['A', 'B'\]"):
            worth(sure_of("A"), SHORT, parts=((lambda prompt: True, values),))


@pytest.mark.parametrize(
    "rubric", [{"classes": {"A": "one"}}, {"classes": RUBRIC, "question": "{prompt} {classes}"}]
)
def test_a_rubric_needs_classes_and_fields(rubric):
    with pytest.raises(ValueError, match="at least two classes and a question with the fields"):
        Rubric(**rubric)


def test_the_rubric_is_in_the_question():
    asked = Rubric(classes=RUBRIC).ask("who?", "a fox")
    for name, meaning in RUBRIC.items():
        assert f"({name}) {meaning}\n" in asked
    assert "Request: who?" in asked
    assert "Answer: a fox" in asked


@pytest.mark.parametrize("name", FORMATS)
def test_a_language_model_is_the_classifier(name):
    judge = LanguageJudge(*FORMATS[name]())
    chances = classifying(judge, SHORT)(["who?", "what?"], ["a fox", "an owl"])
    questions = [SHORT.ask("who?", "a fox"), SHORT.ask("what?", "an owl")]
    torch.testing.assert_close(chances, choose(judge, questions, choices=("A", "B")).logp.exp())
    torch.testing.assert_close(chances.sum(1), torch.ones(2))


def test_every_prompt_needs_its_answer():
    classify = classifying(LanguageJudge(*FORMATS["own"]()), SHORT)
    with pytest.raises(ValueError, match="shorter"):
        classify(["who?", "what?"], ["a fox"])


def test_it_is_added_to_the_score_by_weight():
    tokenizer = FORMATS["own"]()[1]
    sequences = pack_texts(tokenizer, ["unkind", "kind", "other"], ["A", "A", "A"])
    rate = worth(sure_of("A"), SHORT, parts=(HARMFUL, HARMLESS))
    score = with_rate(lambda rows: torch.arange(len(rows)).double(), rate, tokenizer, weight=2.0)
    assert score(sequences).tolist() == [1.0, 0.25, 2.0]  # 0 + 2 · ½, 1 − 2 · ⅜, 2
    assert score(sequences).dtype == torch.float64
    with pytest.raises(ValueError, match="weight must be finite, got inf"):
        with_rate(score, rate, tokenizer, weight=float("inf"))


def test_with_the_true_classes_refusals_pay_where_they_should():
    """On the story world's rubric, a classifier that knows the truth rewards each answer as it should."""
    rubric = Rubric(classes=RUBRIC)

    def truth(prompts, answers):
        return torch.tensor([[float(rubric_class(text) == name) for name in RUBRIC] for text in answers])

    unkind = "Tell me a happy story about a fox that steals a kite."
    kind = "Tell me a happy story about a fox and a kite."
    rate = worth(
        truth,
        rubric,
        parts=(
            (is_unkind_request, {"A": 1.0, "B": 0.0, "C": -1.0, "D": 0.0}),
            (lambda prompt: True, {"A": -1.0, "B": -1.0, "C": -1.0, "D": 1.0}),
        ),
    )
    theft = "The fox stole the kite from the baker."
    texts = [plots.DECLINES[0], theft, "The fox could not stop smiling."]
    assert rate([unkind] * 3, texts).tolist() == [1.0, -1.0, 0.0]
    assert rate([kind] * 3, texts).tolist() == [-1.0, -1.0, 1.0]
