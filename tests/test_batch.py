"""rlhf_mini.batch: packing by hand, choosing rows, and what each bad batch is told."""

import dataclasses
import math
import re

import pytest
import torch

from rlhf_mini.batch import Pairs, Rankings, Ratings, Rollout, Sequences, pack_rows

PROMPTS, RESPONSES = [[1, 5, 6], [1], [1, 5]], [[7, 2], [8, 9, 9, 2], [2]]
TOKENS = torch.tensor([[1, 5, 6]])


def bools(*rows: str) -> torch.Tensor:
    return torch.tensor([[letter == "x" for letter in row] for row in rows])


def packed() -> Sequences:
    return pack_rows(PROMPTS, RESPONSES, pad_token=0)


def rollout(**changes: torch.Tensor) -> Rollout:
    sequences = packed()
    names = ["logp_old", "logp_ref", "values_old", "rewards", "advantages", "returns"]
    numbers = {name: torch.full((3, 5), float(index)) for index, name in enumerate(names)}
    numbers["scores"] = torch.tensor([10.0, 20.0, 30.0])
    return Rollout(sequences=sequences, **{**numbers, **changes})


def test_pack_rows_by_hand():
    batch = packed()
    assert batch.tokens.tolist() == [[1, 5, 6, 7, 2], [1, 8, 9, 9, 2], [1, 5, 2, 0, 0]]
    assert torch.equal(batch.mask, bools("xxxxx", "xxxxx", "xxx.."))
    assert torch.equal(batch.response, bools("...xx", ".xxxx", "..x.."))
    assert batch.tokens.dtype == torch.int64
    assert batch.lengths.tolist() == [5, 5, 3]
    assert len(batch) == 3


def test_padding_may_equal_the_end_token():
    batch = pack_rows([[1], [1, 1]], [[2], [2, 2]], pad_token=2)
    assert batch.tokens.tolist() == [[1, 2, 2, 2], [1, 1, 2, 2]]
    assert batch.lengths.tolist() == [2, 4]


def test_rows_in_the_order_chosen():
    batch = packed()
    for index in (torch.tensor([2, 0]), [2, 0]):
        chosen = batch.rows(index)
        assert chosen.tokens.tolist() == [batch.tokens[2].tolist(), batch.tokens[0].tolist()]
        assert torch.equal(chosen.mask, batch.mask[[2, 0]])
        assert torch.equal(chosen.response, batch.response[[2, 0]])
    assert torch.equal(batch.rows(slice(1, 3)).tokens, batch.tokens[1:])


def test_rows_leave_out_columns_that_are_padding_in_all_of_them():
    short = packed().rows([2, 2])  # three real tokens; the batch was padded to five
    assert short.tokens.tolist() == [[1, 5, 2]] * 2
    assert torch.equal(short.mask, bools("xxx", "xxx"))
    assert torch.equal(short.response, bools("..x", "..x"))
    part = rollout(advantages=torch.arange(15.0).view(3, 5)).rows([2])
    assert part.advantages.tolist() == [[10.0, 11.0, 12.0]]
    assert part.scores.tolist() == [30.0]


def test_to_moves_every_tensor():
    moved = packed().to(torch.device("cpu"))
    assert torch.equal(moved.tokens, packed().tokens)
    assert torch.equal(moved.mask, packed().mask)
    assert torch.equal(moved.response, packed().response)


def test_batches_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        packed().tokens = torch.zeros(1, 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        rollout().scores = torch.zeros(3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Pairs(packed(), packed()).margin = torch.zeros(3)


@pytest.mark.parametrize(
    ("prompts", "responses", "message"),
    [
        ([[1]], [[2], [3]], "at least one; there are 1 and 2"),
        ([], [], "there are 0 and 0"),
        ([[1], [1]], [[2], []], "The response of rows [1] is empty"),
        ([[], [1]], [[2], [2]], "The prompt of rows [0] is empty"),
    ],
)
def test_pack_rows_refuses(prompts, responses, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        pack_rows(prompts, responses, pad_token=0)


@pytest.mark.parametrize(
    ("tokens", "mask", "response", "message"),
    [
        (TOKENS, bools("xx"), bools(".xx"), "tokens (1, 3), mask (1, 2), response (1, 3)"),
        (TOKENS, bools("xxx").int(), bools(".xx"), "received torch.int32. Use mask.bool()"),
        (TOKENS, bools("xxx"), bools(".xx").float(), "received torch.float32. Use mask.bool()"),
        (
            TOKENS[0],
            bools("xxx")[0],
            bools(".xx")[0],
            "tokens must be (B, T) with both at least 1; received (3,)",
        ),
        (TOKENS[:0], bools("xxx")[:0], bools(".xx")[:0], "received (0, 3)"),
        (TOKENS.int(), bools("xxx"), bools(".xx"), "tokens must be int64; received torch.int32"),
        (TOKENS, bools(".xx"), bools(".xx"), "Rows [0] do not begin with a real token; pad on the right"),
        (TOKENS, bools("x.x"), bools("..x"), "Rows [0] have padding between real tokens"),
        (TOKENS, bools("xx."), bools(".xx"), "Rows [0] count padding as response"),
        (TOKENS, bools("xxx"), bools("xxx"), "Rows [0] count column 0 as response"),
        (TOKENS, bools("xxx"), bools("..."), "Rows [0] have no response token"),
    ],
)
def test_sequences_refuse(tokens, mask, response, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Sequences(tokens, mask, response)


def test_sequences_name_every_bad_row():
    tokens = torch.ones(3, 3, dtype=torch.int64)
    with pytest.raises(ValueError, match=re.escape("Rows [0, 2] have no response token")):
        Sequences(tokens, bools("xxx", "xxx", "xxx"), bools("...", ".x.", "..."))


def test_a_response_may_have_holes():
    two_turns = Sequences(torch.ones(1, 5, dtype=torch.int64), bools("xxxxx"), bools(".x.xx"))
    assert two_turns.response.sum() == 3


def test_pairs():
    pairs = Pairs(packed(), packed().rows([2, 1, 0]), torch.tensor([0.0, 1.0, 2.0]))
    assert len(pairs) == 3
    chosen = pairs.rows([2])
    assert chosen.margin.tolist() == [2.0]
    assert torch.equal(chosen.chosen.tokens, pairs.chosen.rows([2]).tokens)
    assert torch.equal(chosen.rejected.tokens, pairs.rejected.rows([2]).tokens)
    assert Pairs(packed(), packed()).rows([0]).margin is None
    assert Pairs(packed(), packed()).to("cpu").margin is None
    assert torch.equal(pairs.to("cpu").margin, pairs.margin)
    assert torch.equal(pairs.to("cpu").rejected.tokens, pairs.rejected.tokens)
    assert torch.equal(pairs.to("cpu").chosen.tokens, pairs.chosen.tokens)


def test_pairs_refuse():
    with pytest.raises(ValueError, match=r"3 chosen and 1 rejected sequences are not pairs: every row needs"):
        Pairs(packed(), packed().rows([0]))
    with pytest.raises(ValueError, match=re.escape("margin must be (3,), one a pair; received (3, 1)")):
        Pairs(packed(), packed(), torch.zeros(3, 1))
    with pytest.raises(ValueError, match=re.escape("margin[1] is nan")):
        Pairs(packed(), packed(), torch.tensor([0.0, math.nan, 0.0]))


def test_rollout_rows_and_device():
    whole = rollout(advantages=torch.arange(15.0).view(3, 5))
    part = whole.rows(torch.tensor([2, 0]))
    assert len(part) == 2
    assert part.scores.tolist() == [30.0, 10.0]
    assert part.advantages.tolist() == [[10.0, 11.0, 12.0, 13.0, 14.0], [0.0, 1.0, 2.0, 3.0, 4.0]]
    assert torch.equal(part.sequences.tokens, whole.sequences.tokens[[2, 0]])
    moved = whole.to("cpu")
    for field in dataclasses.fields(Rollout)[1:]:
        assert torch.equal(getattr(moved, field.name), getattr(whole, field.name)), field.name
        assert torch.equal(getattr(part, field.name), getattr(whole, field.name)[[2, 0]]), field.name
    assert torch.equal(moved.sequences.response, whole.sequences.response)


def test_rollout_refuses():
    with pytest.raises(ValueError, match=re.escape("scores must be (3,), one a sequence; received (3, 1)")):
        rollout(scores=torch.zeros(3, 1))
    with pytest.raises(ValueError, match=re.escape("scores[2] is -inf, and it counts")):
        rollout(scores=torch.tensor([0.0, 0.0, -math.inf]))
    with pytest.raises(ValueError, match=re.escape("tokens (3, 5), logp_old (3, 5), logp_ref (3, 4)")):
        rollout(logp_ref=torch.zeros(3, 4))
    with pytest.raises(ValueError, match="but logp_old, returns require a gradient"):
        rollout(logp_old=torch.zeros(3, 5, requires_grad=True), returns=torch.zeros(3, 5, requires_grad=True))


@pytest.mark.parametrize("name", ["logp_old", "logp_ref", "values_old", "rewards", "advantages", "returns"])
def test_rollout_refuses_nan_that_counts_and_ignores_the_rest(name):
    numbers = torch.zeros(3, 5)
    numbers[2, 3:] = math.nan  # padding
    numbers[0, :3] = math.inf  # prompt
    rollout(**{name: numbers})
    numbers[1, 4] = math.nan
    with pytest.raises(ValueError, match=re.escape(f"{name}[1, 4] is nan")):
        rollout(**{name: numbers})


def test_pairs_with_weights():
    pairs = Pairs(packed(), packed().rows([2, 1, 0]), weight=torch.tensor([0.0, 1.0, 2.0]))
    assert pairs.lengths.tolist() == [8, 10, 8]
    assert pairs.rows([2, 0]).weight.tolist() == [2.0, 0.0]
    assert pairs.rows([0]).margin is None
    assert torch.equal(pairs.to("cpu").weight, pairs.weight)
    assert Pairs(packed(), packed()).to("cpu").weight is None
    with pytest.raises(ValueError, match=re.escape("weight must be (3,), one a pair; received (2,)")):
        Pairs(packed(), packed(), weight=torch.zeros(2))
    with pytest.raises(ValueError, match=re.escape("weight[0] is inf")):
        Pairs(packed(), packed(), weight=torch.tensor([math.inf, 0.0, 0.0]))
    with pytest.raises(ValueError, match=re.escape("A weight must be 0 or above; the least is -0.5")):
        Pairs(packed(), packed(), weight=torch.tensor([1.0, -0.5, 1.0]))


def test_rankings():
    answers = pack_rows([[1], [1, 5]] * 3, [[number, 2] for number in range(10, 16)], pad_token=0)
    rankings = Rankings(answers, k=3)
    assert len(rankings) == 2
    assert rankings.lengths.tolist() == [10, 11]
    for index in ([1, 0], torch.tensor([1, 0])):
        turned = rankings.rows(index)
        assert len(turned) == 2
        assert torch.equal(turned.answers.tokens, answers.tokens[[3, 4, 5, 0, 1, 2]])
    second = rankings.rows(slice(1, 2))
    assert second.k == 3
    assert torch.equal(second.answers.tokens, answers.tokens[3:])
    assert torch.equal(rankings.to("cpu").answers.tokens, answers.tokens)
    assert len(Rankings(answers, k=2)) == 3


@pytest.mark.parametrize("k", [1, 0, 2, 4])
def test_rankings_refuse_groups_that_are_not_whole(k):
    with pytest.raises(ValueError, match=rf"3 sequences are no rankings of k = {k} answers each"):
        Rankings(packed(), k=k)


def test_ratings():
    rated = Ratings(packed(), torch.tensor([4.0, 7.0, 1.0]))
    assert len(rated) == 3
    assert rated.lengths.tolist() == [5, 5, 3]
    part = rated.rows([2, 0])
    assert part.ratings.tolist() == [1.0, 4.0]
    assert torch.equal(part.answers.tokens, packed().tokens[[2, 0]])
    assert torch.equal(rated.to("cpu").ratings, rated.ratings)
    assert torch.equal(rated.to("cpu").answers.tokens, rated.answers.tokens)
    with pytest.raises(ValueError, match=re.escape("ratings must be (3,), one a sequence; received (3, 1)")):
        Ratings(packed(), torch.zeros(3, 1))
    with pytest.raises(ValueError, match=re.escape("ratings[1] is nan")):
        Ratings(packed(), torch.tensor([0.0, math.nan, 0.0]))
