"""What a base model learned from a reader's own text, beside what counting alone would have learned."""

from rlhf_mini.data.ngram import LONGEST_ORDER, fit_ngram, ngram_baseline
from rlhf_mini.data.text import bits_per_byte, byte_count, token_stream
from rlhf_mini.methods.pretrain import stream_loss
from rlhf_mini.pipeline import Pipeline


def report_on_text(pipeline: Pipeline) -> str:
    """Held-out bits per byte of the base model and of byte n-gram models, on the last tenth of the text."""
    if pipeline.text is None:
        raise ValueError("this pipeline was not given a text")
    train, test = pipeline.text
    stream = token_stream(pipeline.tokenizer(), test)
    block = pipeline.profile.pretrain.block
    nats = stream_loss(pipeline.policy("base"), stream, block=block, context=block // 2)
    measured = bits_per_byte(nats, byte_count(test))
    baseline = ngram_baseline(train, test)
    lines = [f"held-out text: {byte_count(test):,} bytes, the last tenth; bits per byte, lower is better"]
    for order in (1, 2, 3, LONGEST_ORDER):
        counted = fit_ngram(train, order=order).bits_per_byte(test)
        lines.append(f"  byte {order}-gram, Kneser–Ney          {counted:.3f}")
    lines.append(f"  byte {baseline.order}-gram, the best order     {baseline.bits_per_byte:.3f}")
    lines.append(f"  base model                      {measured:.3f}")
    return "\n".join(lines)
