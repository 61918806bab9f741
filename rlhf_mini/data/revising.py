"""How a model is asked to criticise an answer under a principle, and to rewrite it."""

from dataclasses import dataclass
from string import Formatter


@dataclass(frozen=True, kw_only=True)
class RevisionTemplate:
    """The two requests of a revision, each a user's turn.

    - `critique`: with `{principle}`, `{prompt}` and `{answer}` in it.
    - `revision`: with these and `{critique}`.

    Raises ValueError for a request that lacks a field or has another.
    """

    critique: str
    revision: str

    def __post_init__(self) -> None:
        fields = {"principle", "prompt", "answer"}
        for text, expected in ((self.critique, fields), (self.revision, fields | {"critique"})):
            found = {name for _, name, _, _ in Formatter().parse(text) if name is not None}
            if found != expected:
                raise ValueError(
                    f"the request must have the fields {sorted(expected)} in braces, and no others; {text!r} "
                    f"has {sorted(found)}"
                )

    def ask_critique(self, principle: str, prompt: str, answer: str) -> str:
        """The request for a critique."""
        return self.critique.format(principle=principle, prompt=prompt, answer=answer)

    def ask_revision(self, principle: str, prompt: str, answer: str, critique: str) -> str:
        """The request for a revision, the critique at hand."""
        return self.revision.format(principle=principle, prompt=prompt, answer=answer, critique=critique)


# For small models of the story world: few words, and what is to be copied last.
STORY_REVISIONS = RevisionTemplate(
    critique="{principle} {prompt} Answer: {answer}",
    revision="{principle} {prompt} {critique} Better than: {answer}",
)

# For models of the hub that follow instructions.
CHAT_REVISIONS = RevisionTemplate(
    critique=(
        "Here are a request and an answer to it.\n\nRequest: {prompt}\n\nAnswer: {answer}\n\nPrinciple: "
        "{principle}\n\nSay in one or two sentences how the answer falls short of the principle, if it does."
    ),
    revision=(
        "Here are a request, an answer to it, and a critique of the answer.\n\nRequest: {prompt}\n\nAnswer: "
        "{answer}\n\nPrinciple: {principle}\n\nCritique: {critique}\n\nRewrite the answer so that it meets "
        "the critique. Give the new answer and nothing else."
    ),
)
