"""What chapter 02 claims, measured: `rlhf-mini claims 02` prints this table."""

from collections.abc import Callable
from typing import Any

from rlhf_mini.chapters.claims import Claim, records_of
from rlhf_mini.chapters.pretraining.by_hand import hand_and_library
from rlhf_mini.chapters.pretraining.choices import CHOICES, ablation
from rlhf_mini.chapters.pretraining.continuing import continuation
from rlhf_mini.chapters.pretraining.decoding import SETTINGS, sampling
from rlhf_mini.chapters.pretraining.embeddings import titles, twins
from rlhf_mini.chapters.pretraining.floor import from_start_to_floor, two_measures
from rlhf_mini.chapters.pretraining.heads import silenced_heads
from rlhf_mini.chapters.pretraining.holes import infilling
from rlhf_mini.chapters.pretraining.jumps import jumps
from rlhf_mini.chapters.pretraining.objectives import OBJECTIVES
from rlhf_mini.chapters.pretraining.scaling import data_scaling, model_scaling
from rlhf_mini.chapters.pretraining.slots import classification
from rlhf_mini.chapters.pretraining.too_good import symptoms
from rlhf_mini.evaluation.records import Record
from rlhf_mini.pipeline import Pipeline

CHAPTER = "02"


def _kept(experiment: Callable[[Pipeline], dict[str, Any]]) -> Callable[[Pipeline], dict[str, Any]]:
    """The experiment, measured once for each pipeline."""
    return lambda pipeline: pipeline.measured(experiment)


CLAIMS = (
    Claim(
        "by hand",
        "A Llama written out here gives the logits of transformers to within 1e-5, and the merges counted here are those of tokenizers.",
        _kept(hand_and_library),
        lambda m: m["largest_difference"] < 1e-5 and m["merges_agreeing"] == m["merges"],
    ),
    Claim(
        "loss",
        "An untrained model's loss is log V to within 2%; training brings the held-out loss to within 20% of the grammar's entropy, and not below it.",
        _kept(from_start_to_floor),
        lambda m: (
            abs(m["loss_at_start"] - m["log_vocabulary"]) < 0.02 * m["log_vocabulary"]
            and m["entropy"] <= m["loss"] < 1.2 * m["entropy"]
        ),
    ),
    Claim(
        "units",
        "A byte n-gram model has the lower perplexity per unit and the higher number of bits per byte: only the second can be compared.",
        _kept(two_measures),
        lambda m: (
            m["perplexity_of_bytes_ngram"] < m["perplexity_of_tokens"]
            and m["bits_per_byte_ngram"] > m["bits_per_byte"] >= m["bits_per_byte_of_the_grammar"]
        ),
    ),
    Claim(
        "copying",
        "Copying the hero's name is learned late and in jumps: its mean probability stands below a tenth for a quarter of the training at least, and gains a third of where it ends within a twentieth of the training; in the end it is above four fifths or below one fifth at 85% of the places or more. Without a title it stays below a tenth.",
        jumps,
        lambda m: (
            m["rise_from"] > 0.25 * m["steps"][-1]
            and m["largest_jump"] > 1 / 3
            and m["sure_places"] + m["guessed_places"] > 0.85
            and max(m["control"]) < 0.1
        ),
    ),
    Claim(
        "copying head",
        "One attention head carries it: with that head switched off the probability of the right hero falls below a quarter of what it was; with any other one off more than half of it is left.",
        _kept(silenced_heads),
        lambda m: m["without_it"] < 0.25 * m["on"] and m["without_another"] > 0.5 * m["on"],
    ),
    Claim(
        "infilling",
        "A sentence's first word is found far more often by the models that read both sides than by a causal model, whose guess there is the same for every sentence. If that may score the whole sentence with each of its 24 likeliest candidates, it finds the word nearly always.",
        _kept(infilling),
        lambda m: (
            min(m["first_masked"], m["first_seq2seq"]) > m["first_causal"] + 0.2
            and m["first_causal"] <= m["first_commonest"]
            and m["first_causal_rescored"] > 0.9
        ),
    ),
    Claim(
        "signal",
        "At equal updates the masked model finds fewer of the words at random holes than the causal model does from the left alone; scoring whole sentences, the causal model finds more still of the same holes.",
        _kept(infilling),
        lambda m: m["masked"] < m["causal"] and m["causal_before_rescoring"] < m["causal_rescored"],
    ),
    Claim(
        "continuation",
        "The causal model continues a sentence grammatically far more often than the encoder–decoder that learned to fill short holes; the masked model hardly ever does, even when it is told the length.",
        _kept(continuation),
        lambda m: m["causal"] > m["seq2seq"] + 0.3 and m["masked"] < 0.1,
    ),
    Claim(
        "slots",
        "Under a bidirectional mask the first token's vector tells the sentence's role far better than under a causal one; averaged over the tokens, the causal model's vectors tell it too.",
        _kept(classification),
        lambda m: m["masked_first"] > m["causal_first"] + 0.2 and m["causal_mean"] > 0.8,
    ),
    Claim(
        "training choices",
        "A short training of a small model ends higher without warm-up, and with four times the rate or a quarter of the steps at four times the batch at least half a nat per token higher.",
        ablation,
        lambda m: (
            m["no warm-up"] > m["unchanged"] and min(m["rate × 4"], m["batch 64"]) > m["unchanged"] + 0.5
        ),
        live=False,
    ),
    Claim(
        "model size",
        "The loss falls with every doubling of the width, and a power law with the entropy as its floor fits the four sizes better than a straight line in log N.",
        model_scaling,
        lambda m: m["losses"] == sorted(m["losses"], reverse=True) and m["misfit"] < m["misfit_of_a_line"],
        live=False,
    ),
    Claim(
        "data size",
        "At equal steps more different texts give a lower loss, and fifty of them are learned by heart: their held-out loss ends above its best.",
        data_scaling,
        lambda m: m["best"][0] > m["best"][1] > m["best"][2] and m["last"][0] > m["best"][0] + 0.05,
        live=False,
    ),
    Claim(
        "sampling",
        "A higher temperature makes stories less coherent and their pairs of words more various; at temperature 1.5, truncation to the likeliest nine tenths buys coherence back.",
        _kept(sampling),
        lambda m: (
            m["coherence · T = 0.5"] > m["coherence · T = 1"] > m["coherence · T = 2"]
            and m["distinct_2 · T = 0.5"] < m["distinct_2 · T = 1"] < m["distinct_2 · T = 2"]
            and m["coherence · T = 1.5, top-p 0.9"] > m["coherence · T = 1.5"]
        ),
    ),
    Claim(
        "SimCSE",
        "SimCSE spreads unrelated stories apart: their mean cosine falls to less than half. Plain word overlap still finds far more twins.",
        _kept(twins),
        lambda m: (
            m["unrelated_after"] < 0.5 * m["unrelated_before"] and m["overlap"] > m["found_after"] + 0.3
        ),
        live=False,
    ),
    Claim(
        "DPR",
        "Two encoders trained with in-batch negatives find a title's story at more than five times the rate of chance. Word overlap, which needs no training, finds more.",
        _kept(titles),
        lambda m: (
            m["found_after"] > 5 * m["chance"]
            and m["found_after"] > m["found_before"]
            and m["overlap"] > m["found_after"]
        ),
        live=False,
    ),
    Claim(
        "too good",
        "Without the shift the training loss falls below the entropy of the grammar, and the honest held-out loss ends above log V.",
        _kept(symptoms),
        lambda m: (
            m["wrong"][-1] < m["entropy"] < m["right"][-1] and m["held_out_wrong"] > m["log_vocabulary"]
        ),
    ),
)


def extra_records(pipeline: Pipeline) -> list[Record]:
    """Rows of three tables: what each objective can do, what each training choice and each sampler gives."""
    filled, continued, told = (
        pipeline.measured(experiment) for experiment in (infilling, continuation, classification)
    )
    drawn, ended = pipeline.measured(sampling), ablation(pipeline)
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for name in OBJECTIVES:
        rows["objectives", name] = {
            "infilling": filled[name],
            "first_word": filled[f"first_{name}"],
            "continuation": continued[name],
            **{readout: told[f"{name}_{readout}"] for readout in ("first", "mean", "last")},
        }
    for method, key in (("the commonest word", "commonest"), ("causal, rescoring", "causal_rescored")):
        rows["objectives", method] = {"infilling": filled[key], "first_word": filled[f"first_{key}"]}
    for name in CHOICES:
        rows["training choices", name] = {"held_out": ended[name]}
    for name in (*SETTINGS, "grammar"):
        measures = ("coherence", "distinct_2", "unique")
        rows["sampling", name] = {measure: drawn[f"{measure} · {name}"] for measure in measures}
    return records_of(CHAPTER, pipeline, rows)
