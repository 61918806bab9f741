"""Sums of chapters 08 and 09: what nobody was shown, and the small Llama that both start from."""

import torch

from rlhf_mini.chapters import small_sums
from rlhf_mini.chapters.small_sums import fine_tuned_start, held_out_sums
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import sums


def test_one_half_is_for_rehearsal():
    judged, rehearsed = (held_out_sums(12, rehearsal=rehearsal) for rehearsal in (False, True))
    assert rehearsed + judged == sums.draw_sums(12, small_sums.LEVEL, seed=0, held_out=True)
    assert len(judged) == len(rehearsed) == 6
    assert all(sums.is_held_out(problem) for problem in judged + rehearsed)


def test_a_start_is_of_its_seed_its_demonstrations_and_its_purpose(miniature, tmp_path):
    """Two steps of 28 rows: the order of the rows, which `purpose` draws, is seen in the weights."""
    pipeline = Pipeline(miniature, cache=tmp_path)
    shown = sums.draw_sums(2 * small_sums.BATCH, small_sums.LEVEL, seed=1)
    prompts, solutions = [one.text for one in shown], [one.solution for one in shown]

    def weights(purpose, *, context=64, rows=solutions):
        model = fine_tuned_start(pipeline, prompts, rows, context=context, epochs=1, purpose=purpose)
        assert model.config.max_position_embeddings == context
        return model.get_input_embeddings().weight.detach()

    first = weights("one")
    assert torch.equal(first, weights("one"))
    assert not torch.equal(first, weights("two"))
    assert not torch.equal(first, weights("one", rows=solutions[::-1]))
    assert torch.equal(first, weights("one", context=80))
