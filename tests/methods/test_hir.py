"""Hindsight relabelling: what a row becomes, what the three terms are, and that failures teach."""

import dataclasses

import pytest
import torch

import rlhf_mini.methods.hir as module
from rlhf_mini.data.chat import answer
from rlhf_mini.data.digits import character_tokenizer
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.answers import Drawing
from rlhf_mini.methods.hir import (
    Hindsight,
    HIRConfig,
    hir,
    hir_loss,
    in_batch,
    pack_hindsight,
    relabel_whole,
    relabel_with_parts,
    train_on_hindsight,
    two_way,
)
from rlhf_mini.models import copy_of, new_llama
from rlhf_mini.worlds import sums
from tests.methods.toy_words import LANGUAGE, in_words, logp_after, seeded, word_tokenizer

TOKENIZER = character_tokenizer(sums.ALPHABET)
STILL = OptimizerConfig(learning_rate=1e-12)
CONFIG = HIRConfig(
    rounds=1,
    epochs=1,
    batch=2,
    drawing=Drawing(samples=1, temperature=1.0, max_new_tokens=3),
    optimizer=STILL,
)


def other(asked, fulfilled):
    return sums.WRONG if fulfilled == sums.RIGHT else sums.RIGHT


WHOLE = relabel_whole(sums.relabel, other)
PARTS = relabel_with_parts(WHOLE, sums.steps_relabelled, other)
SLIP = "7+8=16 2+5+1=8 =86"


# ---- relabelling


def test_an_output_is_relabelled_to_what_it_is():
    assert WHOLE("right", "27+58", SLIP) == [Hindsight("27+58", "wrong", SLIP, "right")]
    assert WHOLE("wrong", "27+58", "=85") == [Hindsight("27+58", "right", "=85", "wrong")]


def test_parts_are_given_what_was_written_before():
    whole, *parts = PARTS("right", "27+58", SLIP)
    assert whole == Hindsight("27+58", "wrong", SLIP, "right")
    assert parts == [
        Hindsight("27+58", "wrong", "7+8=16 ", "right", "", False),
        Hindsight("27+58", "right", "2+5+1=8 ", "wrong", "7+8=16 ", False),
        Hindsight("27+58", "right", "=86", "wrong", "7+8=16 2+5+1=8 ", True),
    ]


def test_rows_as_tokens():
    rows = PARTS("right", "27+58", SLIP)
    packed = pack_hindsight(TOKENIZER, rows, ask=sums.instructed)
    shown = [
        (TOKENIZER.decode(tokens[mask & ~response]), TOKENIZER.decode(tokens[response]))
        for tokens, mask, response in zip(packed.tokens, packed.mask, packed.response, strict=True)
    ]
    head = "<|begin|><|user|>"
    assert shown == [
        (f"{head}wrong 27+58<|assistant|>", f"{SLIP}<|end|>"),
        (f"{head}wrong 27+58<|assistant|>", "7+8=16 "),
        (f"{head}right 27+58<|assistant|>7+8=16 ", "2+5+1=8 "),
        (f"{head}right 27+58<|assistant|>7+8=16 2+5+1=8 ", "=86<|end|>"),
    ]


# ---- contrasts


def row(fulfilled, instead=None, output="b"):
    return Hindsight("", fulfilled, output, instead)


def test_two_way_takes_what_the_script_names_or_the_next_that_differs():
    assert two_way([row("p", "q"), row("p"), row("r"), row("p")]) == [
        ["p", "q"],
        ["p", "r"],
        ["r", "p"],
        ["p", "r"],
    ]
    with pytest.raises(ValueError, match="all rows of the batch fulfil 'p'"):
        two_way([row("p"), row("p")])
    with pytest.raises(ValueError, match="cannot be fulfilled and not fulfilled"):
        row("p", "p")


def test_in_batch_takes_each_instruction_once():
    assert in_batch([row("p", "q"), row("r"), row("p")]) == [["p", "r", "q"]] * 3
    assert in_batch([row("p", "q"), row("p")]) == [["p", "q"]] * 2  # another row's will do
    with pytest.raises(ValueError, match="all rows of the batch fulfil 'p'"):
        in_batch([row("p")])


# ---- the three terms


@pytest.fixture
def policy():
    return new_llama(
        vocab_size=len(TOKENIZER), width=16, layers=1, heads=2, context=64,
        pad_token=0, eos_token=2, bos_token=1, seed=0,
    )  # fmt: skip


def plain_rows(policy, rows, instructions):
    """For each row and instruction: what the model says at each learned token, and the tokens."""
    found = {}
    for number, one in enumerate(rows):
        for name in instructions:
            renamed = dataclasses.replace(one, fulfilled=name, instead=None)
            packed = pack_hindsight(TOKENIZER, [renamed], ask=sums.instructed)
            logp = policy(packed.tokens).logits[0].double().log_softmax(-1).detach()
            places = packed.response[0].nonzero().flatten()
            found[number, name] = (logp[places - 1], packed.tokens[0, places])
    return found


@pytest.mark.parametrize("contrast", [two_way, in_batch])
def test_the_terms_against_plain_sums(policy, contrast):
    rows = [*PARTS("right", "27+58", SLIP)[:3], Hindsight("1+2", "right", "=3", "wrong")]
    config = dataclasses.replace(CONFIG, contrast_weight=0.7, entropy_weight=0.3, label_smoothing=0.2)
    loss, terms = hir_loss(
        policy, TOKENIZER, rows, ask=sums.instructed, contrast=contrast, config=config, mean_length=5.0
    )
    plain = plain_rows(policy, rows, sums.INSTRUCTIONS)
    likelihood = entropy = difference = 0.0
    for number, one in enumerate(rows):
        logp, tokens = plain[number, one.fulfilled]
        of_tokens = logp.gather(1, tokens[:, None]).sum()
        likelihood -= 0.8 * of_tokens + 0.2 * logp.mean(1).sum()
        entropy -= (logp.exp() * logp).sum()
        against, _ = plain[number, other("", one.fulfilled)]
        lead = (of_tokens - against.gather(1, tokens[:, None]).sum()) / len(tokens)
        share = torch.sigmoid(lead)
        difference -= (0.8 * share.log() + 0.2 * (1 - share).log()) / len(rows)
    likelihood, entropy = likelihood / (4 * 5.0), entropy / (4 * 5.0)
    assert float(terms["likelihood_loss"].detach()) == pytest.approx(float(likelihood), abs=1e-5)
    assert float(terms["entropy"].detach()) == pytest.approx(float(entropy), abs=1e-5)
    assert float(terms["contrast_loss"].detach()) == pytest.approx(float(difference), abs=1e-5)
    assert float(loss.detach()) == pytest.approx(
        float(likelihood - 0.3 * entropy + 0.7 * difference), abs=1e-5
    )


def test_three_instructions_share_one_contrast(policy):
    """−0.8 log s_own − 0.1 log s of each of the others, s being shares of exp of the mean log-probability."""
    names = ("right", "wrong", "odd")
    rows = [Hindsight("1+2", name, text) for name, text in zip(names, ("=3", "=44", "1"), strict=True)]
    _, terms = hir_loss(
        policy, TOKENIZER, rows, ask=sums.instructed, contrast=in_batch, config=CONFIG, mean_length=5.0
    )
    plain = plain_rows(policy, rows, names)
    expected = 0.0
    for number in range(3):
        means = torch.stack(
            [
                logp.gather(1, tokens[:, None]).mean()
                for logp, tokens in (plain[number, name] for name in names)
            ]
        )
        target = torch.full((3,), 0.1, dtype=torch.float64)
        target[number] = 0.8
        expected -= float((target * means.log_softmax(0)).sum()) / 3
    assert float(terms["contrast_loss"].detach()) == pytest.approx(expected, abs=1e-5)


def test_a_contrast_must_name_instructions_for_every_row(policy):
    rows = [Hindsight("1+2", "right", "=3", "wrong"), Hindsight("1+2", "wrong", "=4", "right")]
    with pytest.raises(ValueError, match="shorter"):
        hir_loss(
            policy, TOKENIZER, rows, ask=sums.instructed, contrast=lambda rows: two_way(rows)[:1],
            config=CONFIG, mean_length=5.0,
        )  # fmt: skip


def test_the_likelihoods_of_an_epoch_add_up_to_nats_per_token(policy):
    """Outputs of 12, 3 and 3 tokens: what weighs is the token, not the row or the batch that it is in."""
    rows = [
        Hindsight("1+2", "right", "1+2=3 1=1 =3", "wrong", ended=False),
        Hindsight("1+2", "right", "=3", "wrong"),
        Hindsight("1+3", "wrong", "=5", "right"),
    ]
    config = dataclasses.replace(CONFIG, batch=1, contrast_weight=0.0, label_smoothing=0.0)
    history = train_on_hindsight(
        copy_of(policy), TOKENIZER, rows, ask=sums.instructed, config=config, generator=seeded()
    )
    total = 0.0
    for number, one in enumerate(rows):
        logp, tokens = plain_rows(policy, rows, [one.fulfilled])[number, one.fulfilled]
        total -= float(logp.gather(1, tokens[:, None]).sum())
    assert sum(entry["likelihood_loss"] for entry in history) / 3 == pytest.approx(total / 18, abs=1e-5)


def test_the_policy_trains_in_training_mode(policy):
    rows = [Hindsight("1+2", "right", "=3", "wrong"), Hindsight("1+2", "wrong", "=4", "right")]
    modes = []

    def contrast(rows):
        modes.append(policy.training)
        return two_way(rows)

    train_on_hindsight(
        policy.eval(),
        TOKENIZER,
        rows,
        ask=sums.instructed,
        config=dataclasses.replace(CONFIG, epochs=2),
        generator=seeded(),
        contrast=contrast,
    )
    assert modes == [True, True]


def test_terms_of_no_weight_are_left_out(policy):
    rows = [Hindsight("1+2", "right", "=3"), Hindsight("1+3", "right", "=4")]  # nothing to contrast with
    config = dataclasses.replace(CONFIG, contrast_weight=0.0, entropy_weight=0.0, label_smoothing=0.0)
    history = train_on_hindsight(
        policy, TOKENIZER, rows, ask=sums.instructed, config=config, generator=seeded()
    )
    assert "contrast_loss" not in history[0]
    assert history[0]["loss"] == pytest.approx(history[0]["likelihood_loss"])


def test_the_contrast_tells_instructions_apart_where_likelihood_alone_does_not_hurry(policy):
    rows = [Hindsight("1+2", "right", "=3", "wrong"), Hindsight("1+2", "wrong", "=4", "right")]
    leads = {}
    for weight in (0.0, 5.0):
        model = copy_of(policy)
        config = dataclasses.replace(
            CONFIG, epochs=15, optimizer=OptimizerConfig(learning_rate=5e-3), contrast_weight=weight
        )
        train_on_hindsight(model, TOKENIZER, rows, ask=sums.instructed, config=config, generator=seeded())
        plain = plain_rows(model, rows[:1], sums.INSTRUCTIONS)
        means = {name: logp.gather(1, tokens[:, None]).mean() for (_, name), (logp, tokens) in plain.items()}
        leads[weight] = float(means["right"] - means["wrong"])
    assert leads[5.0] > leads[0.0] + 0.1


# ---- learning


def first_word(query, output):
    """The toy's script: an output fulfils the instruction that its first word spells."""
    return output.split()[0] if output else "a"


def share_fulfilled(model, words) -> float:
    """The exact chance that an answer to a word begins with it, averaged over the words."""
    shares = []
    for word in words:
        begins = torch.tensor([in_words(text).split()[:1] == [word] for text in LANGUAGE.texts])
        shares.append(float(logp_after(model, word).exp()[begins].sum()))
    return sum(shares) / len(shares)


def test_failures_teach_instructions_that_were_never_fulfilled_on_purpose(toy_policy):
    """Told a word, write it first. The policy begins with about the same answers whatever it is told.

    The control learns the same outputs under the instructions that were asked, and so learns nothing.
    """
    words = ["b", "c", "d"]
    config = HIRConfig(
        rounds=3,
        epochs=6,
        batch=32,
        drawing=Drawing(samples=60, temperature=1.0, max_new_tokens=3),
        optimizer=OptimizerConfig(learning_rate=3e-3),
        label_smoothing=0.0,
    )

    def run(relabel, config):
        model = copy_of(toy_policy)
        log = hir(
            model,
            word_tokenizer(),
            lambda number: [(word, "") for word in words],
            relabel,
            ask=lambda instruction, query: instruction,
            config=config,
            generator=seeded(),
            on_round=lambda number, entry: entry.update(number=float(number)),
        )
        return share_fulfilled(model, words), log

    learned, log = run(
        relabel_whole(first_word, lambda asked, found: asked if asked != found else None), config
    )
    control, _ = run(
        lambda asked, query, output: [Hindsight(query, asked, output)],
        dataclasses.replace(config, contrast_weight=0.0),
    )
    assert share_fulfilled(toy_policy, words) < 0.3
    assert learned > 0.65
    assert control < 0.4
    assert log[-1]["fulfilled"] > log[0]["fulfilled"] + 0.3
    assert [entry["number"] for entry in log] == [1.0, 2.0, 3.0]
    assert all(entry["rows"] == 180 for entry in log)


def one_round(policy, relabel, tasks=("b", "c"), **options):
    log = hir(
        policy,
        word_tokenizer(),
        lambda number: [(word, "") for word in tasks],
        relabel,
        ask=lambda instruction, query: instruction,
        generator=seeded(),
        **{"config": CONFIG, **options},
    )
    return log[0]


def test_a_round_samples_in_eval_mode_at_its_temperature_and_trains_on_a_batch(toy_policy):
    """Nearly cold, all answers to a word are the likeliest one; four rows fill a batch of four."""
    seen, contrasted = [], []

    def relabel(asked, query, output):
        seen.append((asked, output, toy_policy.training))
        return [Hindsight(query, asked, "d", "a")]

    def contrast(rows):
        contrasted.append(len(rows))
        return two_way(rows)

    coldest = [
        answer(toy_policy, word_tokenizer(), [word], max_new_tokens=3, generator=seeded(), temperature=0.0)[0]
        for word in ("b", "c")
    ]
    config = dataclasses.replace(
        CONFIG, batch=4, drawing=Drawing(samples=2, temperature=1e-4, max_new_tokens=3)
    )
    entry = one_round(toy_policy.train(), relabel, config=config, contrast=contrast)
    said = zip("bc", coldest, strict=True)
    assert seen == [(word, text, False) for word, text in said for _ in range(2)]
    assert contrasted == [4]
    assert (entry["rows"], entry["fulfilled"]) == (4.0, 1.0)
    assert {"loss", "likelihood_loss", "contrast_loss", "entropy"} <= set(entry)


def test_a_round_with_fewer_rows_than_a_batch_trains_nothing(toy_policy, weights_of, same_weights):
    """Of two outputs the script knows what to say of one; an output without a row fulfils nothing."""
    before = weights_of(toy_policy)
    config = dataclasses.replace(CONFIG, optimizer=OptimizerConfig(learning_rate=0.1))
    entry = one_round(
        toy_policy,
        lambda asked, query, output: [Hindsight(query, "b", "d", "a")] * (asked == "b"),
        config=config,
    )
    assert entry == {"fulfilled": 0.5, "rows": 1.0}
    assert same_weights(before, weights_of(toy_policy))


def test_the_first_row_says_what_the_output_fulfilled(toy_policy):
    parts = {"b": ("b", "c"), "c": ("b", "b")}  # the whole output, then a part of it

    def relabel(asked, query, output):
        return [Hindsight(query, found, "d", "a") for found in parts[asked]]

    assert one_round(toy_policy, relabel)["fulfilled"] == 0.5


def test_an_entry_has_the_terms_of_the_last_step(toy_policy, monkeypatch):
    trained, original = [], module.train_on_hindsight

    def watched(*given, **options):
        trained.append(original(*given, **options))
        return trained[-1]

    monkeypatch.setattr(module, "train_on_hindsight", watched)
    config = dataclasses.replace(CONFIG, epochs=3, optimizer=OptimizerConfig(learning_rate=1e-2))
    entry = one_round(
        toy_policy, lambda asked, query, output: [Hindsight(query, asked, "d", "a")] * 2, config=config
    )
    assert len({step["loss"] for step in trained[0]}) == 6
    for name in ("loss", "likelihood_loss", "contrast_loss", "entropy"):
        assert entry[name] == trained[0][-1][name]


# ---- bad input


def test_bad_input(policy):
    for changes in ({"rounds": 0}, {"epochs": 0}, {"batch": 0}):
        with pytest.raises(ValueError, match="rounds, epochs and batch must be at least 1"):
            dataclasses.replace(CONFIG, **changes)
    for changes in (
        {"contrast_weight": -0.5},
        {"contrast_weight": float("inf")},
        {"entropy_weight": float("nan")},
        {"label_smoothing": 1.0},
        {"label_smoothing": -0.1},
    ):
        with pytest.raises(ValueError, match="weights must be finite"):
            dataclasses.replace(CONFIG, **changes)
    assert (CONFIG.contrast_weight, CONFIG.entropy_weight, CONFIG.label_smoothing) == (1.0, 0.001, 0.2)
    one = [Hindsight("1+2", "right", "=3", "wrong")]
    with pytest.raises(ValueError, match="1 rows do not fill one batch of 2"):
        train_on_hindsight(policy, TOKENIZER, one, ask=sums.instructed, config=CONFIG, generator=seeded())
    long = [Hindsight("1+2", "right", "1" * 70, "wrong")] * 2
    with pytest.raises(ValueError, match="context of 64"):
        train_on_hindsight(policy, TOKENIZER, long, ask=sums.instructed, config=CONFIG, generator=seeded())
