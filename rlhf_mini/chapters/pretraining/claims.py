"""What chapter 02 claims, measured: `rlhf-mini claims 02` prints this table."""

from collections.abc import Callable
from typing import Any

from rlhf_mini.chapters.claims import Claim, record_of
from rlhf_mini.chapters.pretraining.by_hand import hand_and_library
from rlhf_mini.chapters.pretraining.choices import CHOICES, ablation
from rlhf_mini.chapters.pretraining.continuing import continuation
from rlhf_mini.chapters.pretraining.copying import phase_change
from rlhf_mini.chapters.pretraining.decoding import SETTINGS, sampling
from rlhf_mini.chapters.pretraining.embeddings import titles, twins
from rlhf_mini.chapters.pretraining.floor import from_start_to_floor, two_measures
from rlhf_mini.chapters.pretraining.holes import infilling
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
        "An untrained model's loss is log V to within 2%, and training brings the perplexity to within 20% of the grammar's own.",
        _kept(from_start_to_floor),
        lambda m: (
            abs(m["loss_at_start"] - m["log_vocabulary"]) < 0.02 * m["log_vocabulary"]
            and m["entropy"] <= m["loss"]
            and m["perplexity"] < 1.2 * m["perplexity_of_the_grammar"]
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
        "Copying the hero's name is learned late and suddenly: its probability rises from a tenth to nine tenths within a third of the training. Without a title it stays below a tenth.",
        phase_change,
        lambda m: (
            m["rise_share"] < 1 / 3 and m["rise_from"] > 0.3 * m["steps"][-1] and max(m["control"]) < 0.1
        ),
    ),
    Claim(
        "infilling",
        "A sentence's first word is found by the models that read both sides, and not by a causal model from the left; if that may score the whole sentence with every candidate, it finds the word too.",
        _kept(infilling),
        lambda m: (
            min(m["first_masked"], m["first_seq2seq"], m["first_causal_rescored"]) > m["first_causal"] + 0.2
        ),
    ),
    Claim(
        "signal",
        "At equal updates the masked model fills holes at random words less often than the causal model does from the left alone: a seventh of the tokens teach it.",
        _kept(infilling),
        lambda m: m["masked"] < m["causal"] < m["causal_rescored"],
    ),
    Claim(
        "continuation",
        "The causal model continues a sentence grammatically far more often than the encoder–decoder that learned to fill short holes; the masked model hardly ever does, even when it is told the length.",
        _kept(continuation),
        lambda m: m["causal"] > m["seq2seq"] + 0.3 and m["masked"] < 0.1,
    ),
    Claim(
        "slots",
        "Under a bidirectional mask the first word's vector tells the sentence's role far better than under a causal one; averaged over the tokens, the causal model's vectors tell it too.",
        _kept(classification),
        lambda m: m["masked_first"] > m["causal_first"] + 0.1 and m["causal_mean"] > 0.8,
    ),
    Claim(
        "training choices",
        "No warm-up, four times the rate, or a quarter of the steps at four times the batch: each ends at least 0.3 nats per token above the base model's settings.",
        ablation,
        lambda m: all(
            m[name] > m["as the base model"] + 0.3 for name in ("no warm-up", "rate × 4", "batch 64")
        ),
    ),
    Claim(
        "model size",
        "With the known entropy as its floor, a power law of the parameters fits the loss with R² above 0.9.",
        model_scaling,
        lambda m: m["r_squared"] > 0.9 and m["exponent"] > 0,
    ),
    Claim(
        "data size",
        "At equal steps more different texts give a lower loss, and few of them are learned by heart: their held-out loss ends above its best.",
        data_scaling,
        lambda m: m["best"][0] > m["best"][-1] and m["last"][0] > m["best"][0] + 0.05,
    ),
    Claim(
        "sampling",
        "A higher temperature makes stories more varied and less coherent; truncation to the likeliest nine tenths buys coherence back.",
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
    rows: list[tuple[str, str, dict[str, float]]] = []
    for name in OBJECTIVES:
        numbers = {
            "infilling": filled[name],
            "first_word": filled[f"first_{name}"],
            "continuation": continued[name],
        }
        numbers |= {readout: told[f"{name}_{readout}"] for readout in ("first", "mean", "last")}
        rows.append(("objectives", name, numbers))
    rescoring = {"infilling": filled["causal_rescored"], "first_word": filled["first_causal_rescored"]}
    rows.append(("objectives", "causal, rescoring", rescoring))
    rows += [("training choices", name, {"held_out": ended[name]}) for name in CHOICES]
    for name in (*SETTINGS, "grammar"):
        measures = ("coherence", "distinct_2", "unique")
        rows.append(("sampling", name, {measure: drawn[f"{measure} · {name}"] for measure in measures}))
    return [
        record_of(
            chapter=CHAPTER,
            experiment=experiment,
            method=method,
            pipeline=pipeline,
            seconds=0.0,
            metrics=numbers,
        )
        for experiment, method, numbers in rows
    ]
