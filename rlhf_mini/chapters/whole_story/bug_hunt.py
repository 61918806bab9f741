"""The bug hunt of chapter 00: everything on the dashboard is as it should be, and the answers get worse."""

from rlhf_mini.chapters.whole_story.choices import pack_choices, pack_choices_by_place
from rlhf_mini.reader import BugHunt

BUG_HUNT = BugHunt(
    title="The reward model's loss falls, its held-out accuracy is fine, best of n raises the score, and the "
    "answers get worse.",
    wrong=pack_choices,
    right=pack_choices_by_place,
    explanation="The choice is the place of the preferred answer: 0 for the first, 1 for the second. The "
    "function reads it as a truth value, as if 1 meant that the first one won, and so exchanges chosen and "
    "rejected in every pair. The reward model learns the annotators' taste with its sign changed, and learns "
    "it well. Nothing that is computed through the same function can show it: loss, accuracy and proxy agree "
    "with each other, and all three are wrong. Only a judge that does not share the code can tell, here the "
    "gold reward, elsewhere a person who reads ten answers. At OpenAI, a refactoring once changed the sign of "
    "the reward, and that of the KL penalty with it, so that the text stayed fluent: the model learned to "
    "write just what its annotators marked down most, and nobody noticed until the training had ended.",
    source="OpenAI (2019), Fine-tuning GPT-2 from human preferences",
    link="https://openai.com/index/fine-tuning-gpt-2/",
)
