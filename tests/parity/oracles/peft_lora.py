"""peft's LoRA on a tiny Llama: its logits with our A and B, and the weights it merges."""

import sys

import torch


def main(questions: str, answers: str) -> None:
    """The model is rebuilt from its weights; A and B come by layer, in the order of the names."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    q = torch.load(questions, weights_only=True)
    vocabulary, width, layers, heads, inner, context = (int(size) for size in q.pop("sizes"))
    tokens, rank, alpha = q.pop("tokens"), int(q.pop("rank")), float(q.pop("alpha"))
    changes = {name: q.pop(name) for name in [*q] if name.startswith(("a:", "b:"))}
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=context,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).to(tokens.device, torch.float64).eval()
    model.load_state_dict(q)
    adapted = get_peft_model(
        model, LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules="all-linear")
    )
    found = {"starts_at_base": torch.tensor(_b_is_zero(adapted))}
    found["a_bound"] = max(p.abs().max() for n, p in adapted.named_parameters() if "lora_A" in n).detach()
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            for letter, part in (("a", "lora_A"), ("b", "lora_B")):
                if part in name:
                    layer = name.removeprefix("base_model.model.model.").split(f".{part}")[0]
                    parameter.copy_(changes.pop(f"{letter}:{layer}"))
    assert not changes, [*changes]
    with torch.no_grad():
        found["logits"] = adapted(tokens).logits
        merged = adapted.merge_and_unload()
        found |= {f"weight:{name}": value for name, value in merged.state_dict().items()}
    torch.save(found, answers)


def _b_is_zero(adapted: torch.nn.Module) -> bool:
    return all(not p.any() for name, p in adapted.named_parameters() if "lora_B" in name)


if __name__ == "__main__":
    main(*sys.argv[1:])
