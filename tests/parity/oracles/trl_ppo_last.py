"""TRL 1.12's PPO, the last: whitening, cutting an answer at its end token, the reward model's score."""

import sys

import torch
from transformers import LlamaConfig, LlamaForSequenceClassification


def main(questions: str, answers: str) -> None:
    """Their trainer's steps stand in one long method; these are what can be called alone."""
    from trl.experimental.ppo.ppo_trainer import masked_mean, masked_var, masked_whiten, truncate_response
    from trl.experimental.utils import get_reward

    q = torch.load(questions, weights_only=True)
    vocab_size, width, layers, heads, inner, context = q["sizes"].tolist()
    end_token, pad_token, prompt = q["special"].tolist()
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        max_position_embeddings=context,
        pad_token_id=pad_token,
        num_labels=1,
    )
    model = LlamaForSequenceClassification(config).double().eval()
    model.load_state_dict({name.removeprefix("w:"): t for name, t in q.items() if name.startswith("w:")})
    cut = truncate_response(end_token, pad_token, q["drawn"])
    tokens = torch.cat([q["prompts"], cut], dim=1)
    with torch.no_grad():
        _, scores, last = get_reward(model, tokens, pad_token, prompt)
    found = {
        "cut": cut,
        "scores": scores,
        "last": last,
        "mean": masked_mean(q["values"], q["mask"]),
        "variance": masked_var(q["values"], q["mask"]),
        "whitened": masked_whiten(q["values"], q["mask"]),
        "whitened_with_mean": masked_whiten(q["values"].clone(), q["mask"], shift_mean=False),
    }
    torch.save(found, answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
