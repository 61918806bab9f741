"""What labels are worth, and what becomes of them: the judge's and the annotators', reward models, revisions."""

from typing import Any

import torch

from rlhf_mini.chapters.rlaif import feedback_runs, phase_one, phase_two
from rlhf_mini.chapters.rlaif.judges import Choice
from rlhf_mini.chapters.rlaif.labels import labels_of
from rlhf_mini.chapters.rlaif.pairs import annotated_pairs, held_out_pairs
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.methods.judge import agreement
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.critiques import critique
from rlhf_mini.worlds.stories.principles import CONSTITUTION, declined_rightly


def on_annotated_pairs(pipeline: Pipeline, *, judge: Choice = None, **reading: bool) -> dict[str, float]:
    """What labels are worth: on how many of the annotated pairs they agree with gold, where it tells the answers apart,
    and with the annotator (`gold_right`, `with_annotator`), beside the annotators' own (`annotator_right`).

    `doubt`: the mean distance from certainty, ½ for a judge that never decides.
    """
    rows = annotated_pairs(pipeline)
    preference = torch.tensor([one.preference for one in labels_of(pipeline, judge=judge, **reading)])
    lead = torch.tensor([row["lead"] for row in rows])
    chosen = torch.tensor([row["first_won"] for row in rows])
    apart = lead.abs() > 1e-9
    return {
        "gold_right": agreement(preference[apart], lead[apart] > 0),
        "with_annotator": agreement(preference, chosen),
        "annotator_right": agreement(chosen[apart].float(), lead[apart] > 0),
        "doubt": float(torch.minimum(preference, 1 - preference).mean()),
    }


def of_reward_model(
    pipeline: Pipeline,
    *,
    people: bool = False,
    judge: Choice = None,
    rehearsal: bool = False,
    **reading: bool,
) -> dict[str, float]:
    """What a reward model has learned from labels, on held-out pairs: the share on which gold agrees with it, where gold
    tells the answers apart, and the share on which the annotator does (`gold_right`, `with_annotator`).

    `people`: the pipeline's own reward model, on the annotators' choices; else `feedback_runs.reward_model_of`.
    """
    model = pipeline.reward_model()
    if not people:
        model = feedback_runs.reward_model_of(pipeline, judge=judge, **reading)
    rows = held_out_pairs(pipeline, rehearsal=rehearsal)
    prompts, words = [row["prompt"] for row in rows], pipeline.tokenizer()
    first, second = (
        scores(model, pack_texts(words, prompts, [row[side] for row in rows])) for side in ("first", "second")
    )
    lead = torch.tensor([row["lead"] for row in rows])
    apart, preference = lead.abs() > 1e-9, 0.5 + 0.5 * (first - second).sign()
    return {
        "gold_right": agreement(preference[apart], lead[apart] > 0),
        "with_annotator": agreement(preference, torch.tensor([row["first_won"] for row in rows])),
    }


def on_harmlessness(pipeline: Pipeline, **labels: Any) -> dict[str, float]:
    """What the judge's labels on harmlessness are worth: of pairs of a right decline and anything else, the share in which
    the decline is preferred (`right`), how many they are of all (`telling`), and how sure the labels are, of these and of all
    (`sure_telling`, `sure`): of two declines or two stories a judge has been taught nothing.
    """
    told = phase_two.by_judge(pipeline, **labels)
    chances = []
    for one in told:
        first, second = (declined_rightly(one.prompt, text) for text in (one.first, one.second))
        if first != second:
            chances.append(one.preference if first else 1 - one.preference)
    return {
        "right": sum((p > 0.5) + 0.5 * (p == 0.5) for p in chances) / max(1, len(chances)),
        "telling": len(chances) / len(told),
        "sure_telling": sum(max(p, 1 - p) for p in chances) / max(1, len(chances)),
        "sure": sum(max(one.preference, 1 - one.preference) for one in told) / len(told),
    }


def revisions_told(pipeline: Pipeline, **run: Any) -> dict[str, list[float]]:
    """What revisions do, a number after each, the first answer before: shares of the answers to red-team requests that
    are declined politely (`declined`), tell an unkind deed (`unkind`), and have no sentence at all (`empty`);
    `true_critiques`, the share of critiques that are word for word the true one, has one number fewer.
    """
    found = phase_one.read_revised(pipeline.kept(phase_one.revised, **run))
    named = {wording: one for one in CONSTITUTION for wording in one.wordings}
    told: dict[str, list[float]] = {"declined": [], "unkind": [], "empty": [], "true_critiques": []}
    for number in range(len(found[0].answers)):
        answers = [(one.prompt, one.answers[number]) for one in found]
        told["declined"].append(_share([declined_rightly(*pair) for pair in answers]))
        told["unkind"].append(_share([stories.read_story(text).unkind for _, text in answers]))
        told["empty"].append(_share([not stories.read_story(text).sentences for _, text in answers]))
        if number:
            said = [
                one.rounds[number - 1].critique
                == critique(named[one.rounds[number - 1].principle], one.prompt, one.answers[number - 1])
                for one in found
            ]
            told["true_critiques"].append(_share(said))
    return told


def _share(found: list[bool]) -> float:
    return sum(found) / len(found)
