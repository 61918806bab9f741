"""The core needs no TRL, peft or accelerate: all of it imports and trains, and says what to install."""

import subprocess
import sys
import textwrap

EXTRAS = ("trl", "peft", "accelerate", "stable_baselines3", "choix")


def run_without_extras(program: str, folder) -> subprocess.CompletedProcess:
    blocked = f"import sys\nsys.modules.update(dict.fromkeys({EXTRAS}))\n"  # None there: as if not installed
    return subprocess.run(
        [sys.executable, "-c", blocked + textwrap.dedent(program)], cwd=folder, capture_output=True, text=True
    )


def test_every_module_imports_without_the_extras(tmp_path):
    done = run_without_extras(
        """
        import importlib, pkgutil
        import rlhf_mini
        for module in pkgutil.walk_packages(rlhf_mini.__path__, "rlhf_mini."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_a_model_trains_without_the_extras(tmp_path):
    done = run_without_extras(
        """
        import json
        from pathlib import Path
        from rlhf_mini.data.handover import hand_over_model
        from rlhf_mini.data.tokenizer import train_tokenizer
        from rlhf_mini.models import new_llama
        from rlhf_mini.real.settings import LoRA, Settings
        from rlhf_mini.real.training import train

        words = train_tokenizer(["Name a fox.", "Finn."], vocab_size=270)
        sizes = {"width": 8, "layers": 1, "heads": 1, "context": 32}
        model = new_llama(vocab_size=len(words), **sizes, pad_token=0, bos_token=1, eos_token=2, seed=0)
        hand_over_model(model, words, "base")
        row = json.dumps({"prompt": "Name a fox.", "completion": "Finn."})
        Path("rows.jsonl").write_text("\\n".join([row] * 40))
        settings = Settings(steps=2, batch=4, max_length=32, lora=LoRA(rank=2))
        print(train("sft", "base", "rows.jsonl", "mine", settings=settings).after)
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine" / "model.safetensors").is_file()


def test_what_is_missing_is_named_with_its_extra(tmp_path):
    done = run_without_extras(
        """
        from rlhf_mini.data.handover import require_package
        for name in ("trl", "peft", "accelerate"):
            try:
                require_package(name)
            except ImportError as error:
                print(error)
        """,
        tmp_path,
    )
    said = done.stdout.splitlines()
    assert len(said) == 3, done.stdout + done.stderr
    assert "rlhf-mini[bridge]" in said[0]
    assert "rlhf-mini[lora]" in said[1]
    assert "rlhf-mini[bridge]" in said[2]
