"""Each reward model on each side's test pairs, by rating: Llama 2's Table 8 in small."""

from rlhf_mini.chapters.llama2 import ratings, sides
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.pipeline import Pipeline, pack_pairs


def cross_accuracy(
    pipeline: Pipeline, *, model: str, pairs: str, mixed: bool = False, run: int = 0
) -> dict[str, object]:
    """Accuracy by rating of the model of one side on the test pairs of a side; the last is over all."""
    rows = sides.judged_pairs(pipeline, side=pairs, split="test")
    wins, losses = ratings.chances(list(rows), panel=sides.PANELS[pairs])
    packed = pack_pairs(pipeline.tokenizer(), rows)
    judge = sides.model_of(pipeline, side=model, mixed=mixed, run=run)
    difference = scores(judge, packed.chosen) - scores(judge, packed.rejected)
    return {
        "accuracy": ratings.accuracy_by_rating(difference, wins, losses),
        "ceiling": ratings.ceiling_by_rating(wins, losses),
        "shares": ratings.shares(wins, losses),
    }
