"""How large a Llama-shaped model is, in parameters, bytes and floating-point operations, from its shape
alone.

Nothing is built. Each number is a sum over the tensors of a layer, written out below; the tests hold it
against small models that are really built, and the counts against published ones. With D the width, F the
width of the gated MLP, H heads of width d, of which K have keys and values of their own, L layers and V
tokens:

- parameters: ``V·D`` embeddings (again for an output projection that is not tied), ``L`` layers of
  ``D·d·(2H + 2K) + 3·D·F + 2·D``, a last normalisation of ``D``;
- a forward pass costs 2 operations for each number of a matrix and token, and ``4·L·H·d`` for each key that a
  token is compared with (Kaplan et al. 2020, arXiv 2001.08361, §2.1);
- a backward pass costs twice the forward pass: once for the gradients of the activations, once for those of
  the weights.

Activations follow the `transformers` implementation with PyTorch's fused attention and no dropout.
Korthikanti et al. 2022, arXiv 2205.05198, eq. 1 and 2, count the same for GPT's layers.
"""

from dataclasses import dataclass
from typing import Any

LLAMA_SHAPED = ("llama", "mistral")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes that a Llama-shaped model is made of.

    Attributes:
        vocabulary: V, rows of the embedding.
        width: D, of the residual stream.
        intermediate: F, of the gated MLP.
        layers: L.
        heads: H, queries of each layer.
        key_value_heads: K, heads of keys and values; H divided by it share one.
        head_width: d, of one head.
        tied: whether the output projection is the embedding.

    Raises:
        ValueError: if a size is below 1, or the heads are no multiple of the key-value heads.
    """

    vocabulary: int
    width: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    head_width: int
    tied: bool

    def __post_init__(self) -> None:
        """Refuse what no model can have."""
        sizes = {name: value for name, value in vars(self).items() if name != "tied"}
        if min(sizes.values()) < 1 or self.heads % self.key_value_heads:
            raise ValueError(
                f"every size must be at least 1 and heads a multiple of key_value_heads, got {sizes}"
            )

    @classmethod
    def of(cls, config: Any) -> "Shape":
        """The shape that a `transformers` configuration describes.

        Raises ValueError for another architecture, or one with biases: its layers have other tensors.
        """
        if config.model_type not in LLAMA_SHAPED:
            raise ValueError(
                f"the formulas are those of {' and '.join(LLAMA_SHAPED)} models, not of {config.model_type!r}"
            )
        if getattr(config, "attention_bias", False) or getattr(config, "mlp_bias", False):
            raise ValueError("the model has biases in its layers, which the formulas do not count")
        return cls(
            vocabulary=config.vocab_size,
            width=config.hidden_size,
            intermediate=config.intermediate_size,
            layers=config.num_hidden_layers,
            heads=config.num_attention_heads,
            key_value_heads=config.num_key_value_heads,
            head_width=getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
            tied=config.tie_word_embeddings,
        )

    @property
    def layer_matrices(self) -> list[tuple[int, int]]:
        """The (in, out) sides of a layer's matrices: queries, keys, values, output, gate, up, down."""
        queries, keys = self.heads * self.head_width, self.key_value_heads * self.head_width
        attention = [(self.width, queries), (self.width, keys), (self.width, keys), (queries, self.width)]
        return [*attention, *[(self.width, self.intermediate)] * 2, (self.intermediate, self.width)]

    @property
    def layer_parameters(self) -> int:
        """Numbers in one layer, its two normalisations included."""
        return sum(rows * columns for rows, columns in self.layer_matrices) + 2 * self.width

    @property
    def backbone_parameters(self) -> int:
        """Numbers in the model without an output projection of its own: embedding, layers, last
        normalisation."""
        return self.vocabulary * self.width + self.layers * self.layer_parameters + self.width

    @property
    def parameters(self) -> int:
        """Numbers in the whole causal language model; tied weights count once."""
        return self.backbone_parameters + (0 if self.tied else self.vocabulary * self.width)

    @property
    def scorer_parameters(self) -> int:
        """Numbers in a reward model on this backbone: its head has one weight a channel, and no bias."""
        return self.backbone_parameters + self.width

    @property
    def multiplied_parameters(self) -> int:
        """Numbers that every token is multiplied with: the layers' matrices and the output projection.

        The embedding is looked up, not multiplied with; a tied one is multiplied with at the output.
        """
        matrices = sum(rows * columns for rows, columns in self.layer_matrices)
        return self.layers * matrices + self.vocabulary * self.width

    def lora_parameters(self, rank: int) -> int:
        """Numbers that LoRA of this rank trains on all matrices of all layers: r·(in + out) each."""
        return self.layers * sum(rank * (rows + columns) for rows, columns in self.layer_matrices)


# ----------------------------------------------------------------------------------------------------- memory


def cache_bytes(shape: Shape, *, sequences: int, tokens: int, value_bytes: int) -> int:
    """What the keys and values of `sequences` sequences of `tokens` tokens take: ``2·L·K·d`` values a token.

    >>> llama_2_7b = Shape(vocabulary=32000, width=4096, intermediate=11008, layers=32, heads=32,
    ...                    key_value_heads=32, head_width=128, tied=False)
    >>> cache_bytes(llama_2_7b, sequences=1, tokens=1, value_bytes=2)
    524288
    """
    a_token = 2 * shape.layers * shape.key_value_heads * shape.head_width
    return a_token * sequences * tokens * value_bytes


def layer_activation_bytes(shape: Shape, *, value_bytes: int) -> int:
    """What one layer keeps of one token for the backward pass.

    Two normalisations, each ``D`` values in float32, two times ``D`` in the model's type, and one float32;
    the queries, keys and values, and what attention gives, ``(2H + 2K)·d``; one float32 a head; and four
    times ``F``: gate, its activation, up, and the product of the two.
    """
    attention = (2 * shape.heads + 2 * shape.key_value_heads) * shape.head_width * value_bytes
    mlp = 4 * shape.intermediate * value_bytes
    return 2 * _norm_bytes(shape, value_bytes) + attention + 4 * shape.heads + mlp


def activation_bytes(shape: Shape, *, sequences: int, tokens: int, value_bytes: int) -> int:
    """What the backbone keeps for the backward pass of a batch, nothing recomputed.

    All layers, the last normalisation, the tokens themselves (int64), and the sines and cosines of all
    positions, which sequences share. Without the logits, see `logit_bytes`.
    """
    a_token = shape.layers * layer_activation_bytes(shape, value_bytes=value_bytes)
    return sequences * tokens * a_token + _around_layers(shape, sequences, tokens, value_bytes)


def checkpointed_activation_bytes(shape: Shape, *, sequences: int, tokens: int, value_bytes: int) -> int:
    """The same with a checkpoint at every layer: each keeps its input alone; one at a time is recomputed.

    The most is needed while the first backward layer is done again: ``L`` inputs and one layer in full, of
    which its input in the model's type is one of the former where that is float32.
    """
    kept = shape.layers * shape.width * value_bytes
    again = layer_activation_bytes(shape, value_bytes=value_bytes)
    return sequences * tokens * (kept + again) + _around_layers(shape, sequences, tokens, value_bytes)


def logit_bytes(shape: Shape, *, sequences: int, tokens: int, value_bytes: int) -> int:
    """What the vocabulary costs at the loss: logits, float32 log-probabilities, and their float32 gradient.

    A loss computed in slices of the batch needs only the share of a slice.
    """
    return sequences * tokens * shape.vocabulary * (value_bytes + 4 + 4)


def _norm_bytes(shape: Shape, value_bytes: int) -> int:
    return shape.width * (4 + 2 * value_bytes) + 4


def _around_layers(shape: Shape, sequences: int, tokens: int, value_bytes: int) -> int:
    positions = 2 * tokens * shape.head_width * value_bytes
    return sequences * tokens * (_norm_bytes(shape, value_bytes) + 8) + positions


# ------------------------------------------------------------------------------------------------- operations


def forward_flops(shape: Shape, *, keys: float | int) -> float:
    """Operations of a forward pass for one token that is compared with `keys` keys, itself included.

    A multiplication and the addition after it count as two. Normalisations, the softmax and the like are left
    out: they grow with D, not with D². `keys` may be a mean; see `mean_keys`.
    """
    return 2.0 * shape.multiplied_parameters + 4.0 * shape.layers * shape.heads * shape.head_width * keys


def training_flops(shape: Shape, *, keys: float | int) -> float:
    """Operations of a training step for one token: forward, and backward at twice the cost; about 6 N."""
    return 3 * forward_flops(shape, keys=keys)


def checkpointed_training_flops(shape: Shape, *, keys: float | int) -> float:
    """The same where every layer is computed a second time in the backward pass: at most a third more.

    The output projection is no layer. PyTorch stops a layer's second pass at the last tensor that is needed,
    which is before its last matrix, so that this one is not computed again either.
    """
    last_matrices = shape.layers * shape.intermediate * shape.width
    spared = 2.0 * (shape.vocabulary * shape.width + last_matrices)
    return training_flops(shape, keys=keys) + forward_flops(shape, keys=keys) - spared


def frozen_training_flops(shape: Shape, *, keys: float | int) -> float:
    """Operations of a training step for one token through frozen matrices, as with LoRA; about 4 N.

    Gradients pass through, but frozen matrices get none. What the adapters themselves cost is left out.
    """
    return training_flops(shape, keys=keys) - 2.0 * shape.multiplied_parameters


def mean_keys(tokens: int) -> float:
    """Keys that a token of a causal sequence sees on average, ``(T + 1)/2``.

    A kernel that does not skip the masked half computes with all T of them.

    >>> mean_keys(3)
    2.0
    """
    return (tokens + 1) / 2
