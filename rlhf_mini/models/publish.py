"""Publishing a model: a card that says what it is and what its numbers do not show, and the way to the hub.

`write_card` puts a README.md beside a saved model, with the YAML front matter that the hub reads: licence,
base model, data sets, results. Each result states what it does not show; a card without that cannot be
written. `publish` uploads the folder; it needs a network, an account and the reader's consent, and is never
called by anything else in this library.

Mitchell et al. 2019, arXiv 1810.03993, propose the card and its sections.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import yaml

from rlhf_mini.split import main_process

CARD = "README.md"
# Formats that run code when they are read; the hub shows a warning, and our loaders refuse them.
UNSAFE = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack")


@dataclass(frozen=True, kw_only=True)
class Result:
    """One measured number.

    Attributes:
        metric: what was measured, with its unit.
        value: the number.
        interval: the bounds of its confidence interval, None if there is none.
        dataset: what it was measured on.
        shows_not: what a reader might take it to show, and it does not. A whole sentence.
    """

    metric: str
    value: float | int
    dataset: str
    shows_not: str
    interval: tuple[float | int, float | int] | None = None

    def __post_init__(self) -> None:
        """Refuse a number without its reservation."""
        for name in ("metric", "dataset", "shows_not"):
            if not getattr(self, name).strip():
                raise ValueError(
                    f"a result needs {name!r}; got an empty one for {self.metric or self.value!r}"
                )
        if self.interval is not None and not self.interval[0] <= self.value <= self.interval[1]:
            raise ValueError(f"the value {self.value} lies outside its interval {self.interval}")


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a card says.

    Attributes:
        name: the model's title.
        summary: one or two sentences: what it is, and what it is for.
        licence: the identifier that the hub knows, such as ``mit`` or ``apache-2.0``.
        base_model: hub name of the model that training began with; None if it began with random weights.
        datasets: names of the data sets it learned from, in the order of the stages.
        method: how it was trained, stage by stage, with the settings that matter.
        results: what was measured; at least one.
        limitations: what it should not be used for. At least one sentence.
        language: ISO 639-1.
    """

    name: str
    summary: str
    licence: str
    base_model: str | None
    datasets: Sequence[str]
    method: str
    results: Sequence[Result]
    limitations: str
    language: str = "en"

    def __post_init__(self) -> None:
        """Refuse a card that leaves out what a user must know."""
        for field in ("name", "summary", "licence", "method", "limitations", "language"):
            if not getattr(self, field).strip():
                raise ValueError(f"a card needs {field!r}; it is empty")
        if not self.datasets or not self.results:
            raise ValueError("a card needs at least one data set and one result")


def card_text(card: ModelCard) -> str:
    """The card as Markdown with YAML front matter."""
    front: dict[str, Any] = {
        "license": card.licence,
        "language": [card.language],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["rlhf-mini"],
        "datasets": list(card.datasets),
    }
    if card.base_model is not None:
        front["base_model"] = card.base_model
    front["model-index"] = [{"name": card.name, "results": [_indexed(result) for result in card.results]}]
    began = "random weights" if card.base_model is None else f"`{card.base_model}`"
    sections = [
        f"# {card.name}",
        card.summary.strip(),
        "## Training",
        f"It began with {began} and learned from {', '.join(f'`{name}`' for name in card.datasets)}.",
        card.method.strip(),
        "## Results, and what they do not show",
        _table(card.results),
        "## Limitations",
        card.limitations.strip(),
    ]
    matter = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    return f"---\n{matter}---\n\n" + "\n\n".join(sections) + "\n"


def write_card(folder: str | os.PathLike[str], card: ModelCard) -> Path:
    """Write the card beside the saved model in `folder`; returns the file. A card that is there is replaced.

    Raises ValueError if the folder holds no model that `save_pretrained` wrote.
    """
    path = Path(folder)
    if not main_process():
        return path / CARD
    _require_model(path)
    beside = path / f".{CARD}.part"
    beside.write_text(card_text(card), encoding="utf-8")
    return beside.replace(path / CARD)


@runtime_checkable
class HubAPI(Protocol):
    """What `publish` asks of ``huggingface_hub.HfApi``."""

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> Any:
        """Make the repository."""

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> Any:
        """Upload all files of a folder."""


def publish(
    folder: str | os.PathLike[str], repository: str, *, private: bool = True, api: HubAPI | None = None
) -> str:
    """Upload a saved model and its card to `repository` ("owner/name") on the hub; returns its address.

    Private unless `private` is False. Without `api`, ``huggingface_hub`` is used with the account that is
    logged in. Raises ValueError, before anything is sent, if there is no model or no card in the folder, if a
    file is of a kind that runs code when it is read (weights belong into safetensors), or for another form of
    name; and if the hub cannot be reached or refuses.
    """
    path = Path(folder)
    _require_model(path)
    if not (path / CARD).is_file() or not (path / CARD).read_text("utf-8").startswith("---\n"):
        raise ValueError(f"{path} has no model card; write one with write_card before publishing")
    unsafe = sorted(file.name for file in path.rglob("*") if file.suffix in UNSAFE)
    if unsafe:
        raise ValueError(
            f"{path} holds {', '.join(unsafe)}, which can run code when read; keep safetensors only"
        )
    owner, slash, name = repository.partition("/")
    if not (owner and slash and name) or "/" in name:
        raise ValueError(f"repository must be 'owner/name', got {repository!r}")
    if not main_process():
        return f"https://huggingface.co/{repository}"
    if api is None:
        from huggingface_hub import HfApi  # comes with transformers; imported late, for most never publish

        api = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=str(path), commit_message="Model and card")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{repository!r} could not be uploaded: {error}. Check the network, and that you are logged in "
            "(hf auth login) as someone who may write there"
        ) from error
    return f"https://huggingface.co/{repository}"


def _require_model(path: Path) -> None:
    described = any((path / name).is_file() for name in ("config.json", "adapter_config.json"))
    if not described or not any(path.glob("*.safetensors")):
        raise ValueError(
            f"{path} holds no saved model (config.json and safetensors); call save_pretrained first"
        )


def _indexed(result: Result) -> dict[str, Any]:
    """One result as the hub's index of models wants it."""
    return {
        "task": {"type": "text-generation"},
        "dataset": {"name": result.dataset, "type": result.dataset},
        "metrics": [{"name": result.metric, "type": result.metric, "value": result.value}],
    }


def _table(results: Sequence[Result]) -> str:
    rows = ["| metric | value | measured on | what it does not show |", "|---|---|---|---|"]
    for result in results:
        value = f"{result.value:g}"
        if result.interval is not None:
            value += " ({:g} to {:g})".format(*result.interval)
        cells = (result.metric, value, result.dataset, result.shows_not)
        rows.append(
            "| " + " | ".join(cell.strip().replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
        )
    return "\n".join(rows)


def _cell(text: str) -> str:
    """Text that cannot break out of a table's cell."""
    return " ".join(text.split()).replace("|", "\\|")
