"""The card says what the hub and a reader need; nothing is sent that should not be."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import HfApi, ModelCardData
from huggingface_hub import ModelCard as HubCard
from transformers import AutoModelForCausalLM

from rlhf_mini.models.publish import ModelCard, Result, card_text, publish, write_card
from tests.models.tiny import llama

RESULT = Result(
    metric="gold reward, points",
    value=2.75,
    interval=(2.5, 3),
    dataset="stories, held-out prompts",
    shows_not="A program wrote the gold reward: it says nothing of what people prefer.",
)
CARD = ModelCard(
    name="Tiny | stories",
    summary="A policy of 20,000 parameters that writes stories: for teaching, and for nothing else.",
    licence="mit",
    base_model="someone/tiny-base",
    datasets=["stories", "someone/preferences"],
    method="SFT for 3 epochs, then DPO with a KL weight of 0.1.",
    results=[RESULT, dataclasses.replace(RESULT, metric="a | b", interval=None)],
    limitations="It knows no facts: “Grüße” is all it greets with.",
)


class FakeHub:
    """Stands for ``HfApi``: writes down what it is asked for, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.error = error

    def create_repo(self, repo_id: str, **options: Any) -> None:
        self.asked.append(("create_repo", {"repo_id": repo_id, **options}))

    def upload_folder(self, **options: Any) -> None:
        if self.error is not None:
            raise self.error
        files = sorted(path.name for path in Path(options["folder_path"]).iterdir())
        self.asked.append(("upload_folder", {**options, "files": files}))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    llama().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_the_front_matter_is_what_the_hub_reads(saved: Path) -> None:
    file = write_card(saved, CARD)
    text = file.read_text("utf-8")
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["license"] == "mit"
    assert front["base_model"] == "someone/tiny-base"
    assert front["datasets"] == ["stories", "someone/preferences"]
    data = HubCard.load(file).data  # the hub's own reader, which checks the index of results
    assert isinstance(data, ModelCardData)
    assert [(one.metric_name, one.metric_value, one.dataset_name) for one in data.eval_results] == [
        ("gold reward, points", 2.75, "stories, held-out prompts"),
        ("a | b", 2.75, "stories, held-out prompts"),
    ]
    assert sorted(path.name for path in saved.iterdir()) == sorted(
        ["README.md", "config.json", "generation_config.json", "model.safetensors"]
    )
    AutoModelForCausalLM.from_pretrained(saved)  # the card is not in the way


def test_the_text_says_how_it_was_made_and_what_the_numbers_do_not_show() -> None:
    text = card_text(CARD).split("---\n", 2)[2]
    assert text.startswith("\n# Tiny | stories\n")
    assert "It began with `someone/tiny-base` and learned from `stories`, `someone/preferences`." in text
    assert CARD.method in text
    assert CARD.limitations in text
    row = next(line for line in text.splitlines() if line.startswith("| gold"))
    assert row.split(" | ")[1:] == ["2.75 (2.5 to 3)", RESULT.dataset, f"{RESULT.shows_not} |"]
    assert r"| a \| b | 2.75 | " in text
    fresh = card_text(dataclasses.replace(CARD, base_model=None))
    assert "It began with random weights" in fresh
    assert "base_model" not in fresh


def test_a_card_is_replaced_whole(saved: Path) -> None:
    write_card(saved, CARD)
    write_card(saved, dataclasses.replace(CARD, licence="apache-2.0"))
    assert "license: apache-2.0" in (saved / "README.md").read_text("utf-8")
    assert not list(saved.glob(".*"))


def test_a_folder_without_a_model_gets_no_card(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    for folder in (tmp_path, tmp_path / "gone"):
        with pytest.raises(ValueError, match=r"holds no saved model \(config.json and safetensors\)"):
            write_card(folder, CARD)


@pytest.mark.parametrize("field", ["name", "summary", "licence", "method", "limitations"])
def test_a_card_leaves_nothing_out(field: str) -> None:
    with pytest.raises(ValueError, match=f"a card needs '{field}'"):
        dataclasses.replace(CARD, **{field: " "})


def test_a_result_says_what_it_does_not_show() -> None:
    with pytest.raises(
        ValueError, match="a result needs 'shows_not'; got an empty one for 'gold reward, points'"
    ):
        dataclasses.replace(RESULT, shows_not="")
    with pytest.raises(ValueError, match=r"the value 2.75 lies outside its interval \(3, 4\)"):
        dataclasses.replace(RESULT, interval=(3, 4))
    with pytest.raises(ValueError, match="at least one data set and one result"):
        dataclasses.replace(CARD, results=[])


# ----------------------------------------------------------------------------------------------------- upload


def test_publishing_makes_a_private_repository_and_uploads_the_folder(saved: Path) -> None:
    write_card(saved, CARD)
    hub = FakeHub()
    assert publish(saved, "someone/tiny", api=hub) == "https://huggingface.co/someone/tiny"
    (made, repository), (sent, folder) = hub.asked
    assert (made, repository) == (
        "create_repo",
        {"repo_id": "someone/tiny", "private": True, "exist_ok": True},
    )
    assert (sent, folder["repo_id"], folder["folder_path"]) == ("upload_folder", "someone/tiny", str(saved))
    assert {"README.md", "model.safetensors"} <= set(folder["files"])
    publish(saved, "someone/tiny", api=hub, private=False)
    assert hub.asked[2][1]["private"] is False


def test_the_real_hub_is_asked_in_its_own_words() -> None:
    """The fake would accept anything: the names of the arguments are held against the real ones."""
    import inspect

    assert {"repo_id", "private", "exist_ok"} <= set(inspect.signature(HfApi.create_repo).parameters)
    wanted = {"repo_id", "folder_path", "commit_message"}
    assert wanted <= set(inspect.signature(HfApi.upload_folder).parameters)


def test_nothing_is_sent_that_should_not_be(saved: Path) -> None:
    hub = FakeHub()
    with pytest.raises(ValueError, match="has no model card; write one with write_card"):
        publish(saved, "someone/tiny", api=hub)
    write_card(saved, CARD)
    for name in ("tiny", "/tiny", "someone/", "a/b/c"):
        with pytest.raises(ValueError, match="repository must be 'owner/name'"):
            publish(saved, name, api=hub)
    (saved / "optimizer.pt").touch()
    with pytest.raises(ValueError, match=r"holds optimizer.pt, which can run code when read"):
        publish(saved, "someone/tiny", api=hub)
    assert hub.asked == []


def test_a_hub_that_cannot_be_reached_is_named(saved: Path) -> None:
    write_card(saved, CARD)
    with pytest.raises(ValueError, match=r"'someone/tiny' could not be uploaded: offline. Check the network"):
        publish(saved, "someone/tiny", api=FakeHub(ConnectionError("offline")))
