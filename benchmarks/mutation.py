"""Break the library on purpose, one small change at a time, and count how many changes the tests notice.

    python benchmarks/mutation.py                 all modules, about twenty minutes on one core
    python benchmarks/mutation.py tensors exact   some of them
    python benchmarks/mutation.py --list          what would be changed

Each change (a mutant) is made in a copy of the library in a temporary folder and judged by the module's own
tests, without doctests and without the shape checks that tests add to signatures. A mutant that no test
notices has survived. Some survivors are no fault of the tests, since the changed program does the same:
``EQUIVALENT`` names them with the reason, and they are counted apart.

Mutated are comparisons, arithmetic, logic, numbers, conditions, return values, keyword arguments, the order
of arguments, checks left out and some function names (``minimum`` for ``maximum``); not messages, annotations
or docstrings. Every mutant runs in a forked process, so this needs Linux or macOS.
"""

import argparse
import ast
import copy
import gc
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 60  # of processor time, not of the clock: a mutant that takes longer hangs, and counts as noticed
MODULES = {
    "tensors": (["tensors.py"], ["tests/test_tensors.py"]),
    "estimators": (["estimators"], ["tests/estimators"]),
    "losses": (["losses"], ["tests/losses"]),
    "exact": (
        ["exact/distributions.py", "exact/language.py", "exact/optimum.py", "exact/policy.py"],
        ["tests/test_exact.py"],
    ),
    "offline": (["exact/offline.py"], ["tests/exact/test_offline.py"]),
    "sums": (["worlds/sums.py"], ["tests/worlds/test_sums.py"]),
    "hindsight": (
        ["methods/hir.py", "methods/hindsight_replay.py"],
        ["tests/methods/test_hir.py", "tests/methods/test_hindsight_replay.py"],
    ),
    "self-training": (
        [
            "methods/mixed_batches.py",
            "methods/answers.py",
            "methods/rest.py",
            "methods/raft.py",
            "methods/expert_iteration.py",
        ],
        [
            "tests/methods/test_mixed_batches.py",
            "tests/methods/test_answers.py",
            "tests/methods/test_self_training.py",
        ],
    ),
    "ranking methods": (
        ["methods/rrhf.py", "methods/slic.py"],
        ["tests/methods/test_sequence_ranking_methods.py"],
    ),
    "mdp": (["exact/mdp.py", "exact/planning.py"], ["tests/exact/test_mdp.py"]),
    "gridworld": (
        ["worlds/gridworld/layout.py", "worlds/gridworld/model.py", "worlds/gridworld/environment.py"],
        ["tests/worlds/test_gridworld.py"],
    ),
    "token_world": (["worlds/token_world.py"], ["tests/worlds/test_token_world.py"]),
    "exercises": (["reader/comparing.py", "reader/exercises.py"], ["tests/reader/test_exercises.py"]),
    "packing": (["data/packed.py"], ["tests/data/test_packed.py"]),
    "selection": (["data/selection.py"], ["tests/data/test_selection.py"]),
    "lora": (["models/lora.py"], ["tests/models/test_lora.py"]),
    "rehearsal": (["methods/rehearsal.py"], ["tests/methods/test_rehearsal.py"]),
    "scheduled": (["methods/scheduled_sampling.py"], ["tests/methods/test_scheduled_sampling.py"]),
    "tabular": (["methods/tabular.py", "methods/tabular_control.py"], ["tests/methods/test_tabular.py"]),
    "episodes": (
        ["methods/episodes.py", "methods/policy_gradient.py", "methods/grid_ppo.py"],
        [
            "tests/methods/test_episodes.py",
            "tests/methods/test_policy_gradient.py",
            "tests/methods/test_grid_ppo.py",
        ],
    ),
    "corruption": (["data/corruption.py"], ["tests/data/test_corruption.py"]),
    "masks": (["models/masks.py"], ["tests/models/test_masks.py"]),
    "objectives": (
        [
            "methods/masked_lm.py",
            "methods/denoising.py",
            "methods/simcse.py",
            "methods/dense_retrieval.py",
            "models/embedding.py",
        ],
        ["tests/methods/test_other_objectives.py"],
    ),
    "calibration": (["evaluation/calibration.py"], ["tests/evaluation/test_calibration.py"]),
    "constitution": (
        ["methods/constitution.py", "data/revising.py"],
        ["tests/methods/test_constitution.py"],
    ),
    "judging": (
        ["methods/judge.py", "data/judging.py"],
        ["tests/methods/test_judge.py", "tests/data/test_judging.py"],
    ),
    "soft labels": (["methods/soft_labels.py"], ["tests/methods/test_soft_labels.py"]),
    "rubric": (["methods/rubric_reward.py"], ["tests/methods/test_rubric_reward.py"]),
    "self-rewarding": (["methods/self_rewarding.py"], ["tests/methods/test_self_rewarding.py"]),
    "self-synthesis": (["methods/self_synthesis.py"], ["tests/methods/test_self_synthesis.py"]),
    "principles": (
        ["worlds/stories/principles.py", "worlds/stories/critiques.py", "worlds/stories/rubric.py"],
        ["tests/worlds/test_stories_constitution.py"],
    ),
    "digits": (["data/digits.py"], ["tests/data/test_digits.py"]),
    "adversarial": (["methods/adversarial.py"], ["tests/methods/test_adversarial.py"]),
    "power_law": (["evaluation/power_law.py"], ["tests/evaluation/test_power_law.py"]),
}
# (file, line before, line after): why no test can notice.
SAVES_A_COPY = "dividing by 1.0 is exact; the condition only saves a copy"
SHAPES_COMPARED = "the shapes were compared before"
TIMES_ZERO = "it is multiplied by a probability of 0"
NEVER_READ = "one more row of zeros, which is never read"
NEVER_EQUAL = "a random number in [0, 1) equals the bound with probability 0"
ACCELERATOR = "differs on an accelerator only"
SAME_LENGTH = "both have the same length by construction"
NORMALISED = "a positive factor goes away when the vector is brought to length 1"
HOW_MANY_AT_ONCE = "how many rows at once changes time and memory only"
TRANSPOSED = "distances are symmetric, and the largest is looked for in all of them"
NOTHING_LEFT = "either way the result is below the smallest difference that matters, 1e-300"
ONLY_A_CACHE = "a cache is kept and never read; the output is the same"
ONE_AXIS = "there is only one axis"
NO_GRADIENT = "a comparison has no gradient"
END_IS_WORTH_NOTHING = "the worth of an end is never learned, and stays 0"
NO_SUCH_LEVEL = "no level has as many problems"
WRITTEN_ANEW = "the text is compared with the solution of what was found"
DRAWN_AGAIN = "a text without a slip is drawn again"
BEHIND_THE_MASK = "what padding is does not matter behind the mask"
NEVER_FALSE = "what decides says yes or raises"
ZIP_THREE = "steps = zip(reversed(rewards.unbind(1)), reversed(values.unbind(1)), reversed(mask.unbind(1))"
ZIP_TWO = "for reward, counts in zip(reversed(rewards.unbind(1)), reversed(mask.unbind(1))"
ENTROPY = "return -(logp.exp() * logp.masked_fill(logp == -torch.inf, {})).sum(-1)"
T5_CALL = (
    "input_ids=batch.source, attention_mask=batch.source_mask.long(), decoder_input_ids=batch.target, "
    "decoder_attention_mask=batch.target_mask.long()"
)
T5_CONFIG = (
    "config = T5Config(vocab_size=vocab_size, d_model=width, d_kv=width // heads, d_ff=feed_forward, "
    "num_layers=layers, num_heads=heads, feed_forward_proj='gated-silu', dropout_rate=0.0, "
    "pad_token_id=pad_token, decoder_start_token_id=pad_token{})"
)
TIED = "transformers ties the embeddings of a T5 in any case"
SIMCSE = (
    "first, second = (normalize(text_vectors(model, batch.tokens, batch.mask, dropout=dropout, "
    "generator=generator){}) for _ in range(2))"
)
ZIP_ANSWERS = "for prompt, texts, rewards in zip(answers.prompts, answers.texts, answers.rewards.tolist()"
MEAN_LENGTH = (
    "mean_length = float((weights * sequences.response.sum(1)).mean()) if _usable(weights, sequences) else {}"
)
BEFORE = "before = None if evaluate is None else copy.deepcopy(policy.state_dict())"
POOLED = "chosen = pooled([part.kept(mask) for part, mask in zip(parts, masks{})])"
REWARDS = "rewards = torch.cat([part.rewards[mask] for part, mask in zip(parts, masks{})])"
FACTS = (
    "facts = {{'kept': float(len(chosen)), 'kept_share': len(chosen) / sum((part.rewards.numel() for part in "
    "parts)), 'reward': float(answers.rewards.mean()), 'kept_reward': float(rewards.mean()){}}}"
)
REVISING = (
    "rows = list(zip(drawn, prompts, current{}))",
    "requests = [template.ask_revision(*row, said) for row, said in zip(rows, critiques{})]",
    "current = [new if new.strip() else old for new, old in zip(written, current{})]",
    "for done, *what in zip(rounds, drawn, critiques, current{}):",
    "return [Revised(prompt, first, tuple(done)) for prompt, first, done in zip(prompts, answers, rounds{})]",
)
WRITTEN = "rows = [row[written] for row, written in zip(tokens, response{})]"
PARTS = "parts = [tokenizer.encode(part, add_special_tokens=False{}) for part in (before, after)]"
WRITE_PROMPTS = (
    "def write_prompts(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, count: int, *, "
    "max_new_tokens: int, temperature: float, generator: torch.Generator, batch: int={}) -> list[str]:"
)
LABELS = "return [Labelled(*row, p) for row, p in zip(rows, verdicts.preference.tolist(){})]"
MIXED = (
    "kept = [row for (labels, _), count in zip(kinds, counts{}) for row in rng.sample(list(labels), "
    "min(count, len(labels)))]"
)
SOFT = "losses = soft_preference_loss({}, {}, preference=batch.preference)"
WALKED = "walk.append((state, action, float(after {} goal), int(after), bool(terminated)))"
RELABELS = "drawn = generator.permutation(len(others))[:max({})]"
TARGET = "target = float(after == goal) + {}"
CLEAN, RIGHT_SIDE = ", clean_up_tokenization_spaces=False", ", padding_side='right'"
CHARACTERS = (
    "return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token=PAD, bos_token=BEGIN, eos_token=END, "
    "additional_special_tokens=[USER, ASSISTANT], chat_template=CHAT_TEMPLATE{}{})"
)
COLUMNS = (
    "if not columns or len({{len(column) for column in columns}}) != 1 or max(map(max, columns){}) > {}:"
)
DIGITS = "numbers = [int(''.join(map(str, reversed(digits)))) for digits in zip(*columns{})]"
NUMBERS = "if len(numbers) < 2 or {}((len(str(number)) != len(columns) for number in numbers)):"
SLIP = "text = _work(columns, slip=slip{})"
WORK = (
    "def _work(columns: Sequence[Sequence[int]], *, slip: str | None=None, place: int={}, "
    "rng: random.Random | None=None) -> str:"
)
AROUND = "around = (other.fulfilled for other in (*rows[place + {}:], *rows[:place]))"
NAMED = "return [list(named) if len(named) > 1 else two_way(rows)[{}]] * len(rows)"
HINDSIGHT = (
    "outputs = [encode_text(tokenizer, row.output) + end for row, end in zip(rows, ends{})]",
    "found = [relabel(*task, output) for task, output in zip(tasks, outputs{})]",
    "right = [bool(rows) and rows[0].fulfilled == task[0] for task, rows in zip(tasks, found{})]",
)
SHARED = "shared = sum((1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*rows{}))))"
PREFIX = "return (rows[{}][:shared], tails)"
LAST = "last = hidden[torch.arange(len(rows){}), last_true_index(mask)]"
GATHERED = "parts.append(logits{}.log_softmax({}).cpu().gather(1, wanted[rows]))"
PADDING = "return {} if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)"
WHOLE = "rows = [(start, [*tail, end]) for start, row in zip(starts, tails{}) for tail in row]"
RIGHT = "right = ((preference {} 0.5) == first_better) & (preference != 0.5)"
AGREED = "return float((right{} + 0.5 * (preference == 0.5){}).mean())"
SUM_OF_BOTH = "the sum with the other term is of floats"
PROMPTS_OF = "rows = zip(sequences.tokens.cpu(), (sequences.mask & ~sequences.response).cpu(){})"
SEVERAL = (
    "texts = [[text for part in parts for text in part] for parts in zip(*(a.texts for a in several){})]"
)
PAIRED = "return torch.tensor([float(reward(*pair)) for pair in zip(prompts, answers{})])"
GREEDY = (
    "drawn = draw(judge.model, judge.tokenizer, asked, max_new_tokens=max_new_tokens, "
    "generator=torch.Generator().manual_seed({}), temperature=0.0)"
)
TRIU = "better, worse = torch.triu_indices(scores.shape[1], scores.shape[1], offset=1"
CLOSE = "if not torch.allclose({}, rtol=0, atol=1e-05):"
EQUIVALENT = {
    (
        "data/corruption.py",
        "chance[~maskable] = 1.0",
        "chance[~maskable] = 2.0",
    ): "any number that no chance can reach",
    ("data/corruption.py", "targets = chance < rate", "targets = chance <= rate"): NEVER_EQUAL,
    (
        "data/corruption.py",
        "shown = torch.where(targets & (fate < 0.8), mask_token, tokens)",
        "shown = torch.where(targets & (fate <= 0.8), mask_token, tokens)",
    ): NEVER_EQUAL,
    (
        "data/corruption.py",
        "return Masked(torch.where(targets & (fate >= 0.9), drawn, shown), targets)",
        "return Masked(torch.where(targets & (fate > 0.9), drawn, shown), targets)",
    ): NEVER_EQUAL,
    (
        "data/corruption.py",
        "for hole, rest in zip(holes, rests[1:], strict=True):",
        "for hole, rest in zip(holes, rests[1:]):",
    ): SAME_LENGTH,
    (
        "data/corruption.py",
        "for hole, rest in zip(holes, rests[1:], strict=True):",
        "for hole, rest in zip(holes, rests[1:], strict=False):",
    ): SAME_LENGTH,
    (
        "data/corruption.py",
        "for (start, end), sentinel in zip(spans, sentinels, strict=False):",
        "for (start, end), sentinel in zip(spans, sentinels):",
    ): "strict is false by default",
    (
        "data/selection.py",
        "def text_embeddings(model: PreTrainedModel, sequences: Sequences, *, batch: int=128) -> Tensor:",
        "def text_embeddings(model: PreTrainedModel, sequences: Sequences, *, batch: int=129) -> Tensor:",
    ): HOW_MANY_AT_ONCE,
    (
        "data/selection.py",
        "def text_embeddings(model: PreTrainedModel, sequences: Sequences, *, batch: int=128) -> Tensor:",
        "def text_embeddings(model: PreTrainedModel, sequences: Sequences, *, batch: int=127) -> Tensor:",
    ): HOW_MANY_AT_ONCE,
    (
        "data/selection.py",
        "centres = points[torch.randperm(len(points), generator=generator)[:clusters]].clone()",
        "centres = points[torch.randperm(len(points), generator=generator)[:clusters]]",
    ): "indexing by numbers copies already",
    (
        "data/selection.py",
        "distance = torch.cdist(points, points[first:first + 1]).squeeze(1)",
        "distance = torch.cdist(points[first:first + 1], points).squeeze(1)",
    ): TRANSPOSED,
    (
        "data/selection.py",
        "distance = torch.minimum(distance, torch.cdist(points, points[chosen[-1:]]).squeeze(1))",
        "distance = torch.minimum(distance, torch.cdist(points[chosen[-1:]], points).squeeze(1))",
    ): TRANSPOSED,
    (
        "methods/scheduled_sampling.py",
        "replaced = torch.rand(batch.tokens.shape, generator=generator).to(own.device) >= keep",
        "replaced = torch.rand(batch.tokens.shape, generator=generator).to(own.device) > keep",
    ): NEVER_EQUAL,
    (
        "methods/scheduled_sampling.py",
        "return lambda step: pace / (pace + math.exp(min(step / pace, 700.0)))",
        "return lambda step: pace / (pace + math.exp(min(step / pace, 701.0)))",
    ): NOTHING_LEFT,
    (
        "methods/scheduled_sampling.py",
        "return lambda step: pace / (pace + math.exp(min(step / pace, 700.0)))",
        "return lambda step: pace / (pace + math.exp(min(step / pace, 699.0)))",
    ): NOTHING_LEFT,
    (
        "losses/ranking.py",
        f"{TRIU}, device=scores.device)",
        f"{TRIU})",
    ): ACCELERATOR,
    (
        "methods/scheduled_sampling.py",
        "logits = align_to_tokens(token_logits(model, batch.tokens, batch.mask).float())",
        "logits = align_to_tokens(token_logits(model, batch.tokens, batch.mask))",
    ): ACCELERATOR,
    (
        "methods/scheduled_sampling.py",
        "logp = token_logp(token_logits(model, read, batch.mask).float(), batch.tokens)",
        "logp = token_logp(token_logits(model, read, batch.mask), batch.tokens)",
    ): ACCELERATOR,
    (
        "methods/rehearsal.py",
        "parts = {'answer_loss': answers.detach(), 'document_loss': texts.detach()}",
        "parts = {'answer_loss': answers, 'document_loss': texts.detach()}",
    ): "the loop reads the number alone",
    (
        "methods/rehearsal.py",
        "parts = {'answer_loss': answers.detach(), 'document_loss': texts.detach()}",
        "parts = {'answer_loss': answers.detach(), 'document_loss': texts}",
    ): "the loop reads the number alone",
    (
        "methods/denoising.py",
        "for tokens, mask in zip(batch.tokens, batch.mask, strict=True):",
        "for tokens, mask in zip(batch.tokens, batch.mask):",
    ): SAME_LENGTH,
    (
        "methods/denoising.py",
        "for tokens, mask in zip(batch.tokens, batch.mask, strict=True):",
        "for tokens, mask in zip(batch.tokens, batch.mask, strict=False):",
    ): SAME_LENGTH,
    (
        "methods/denoising.py",
        T5_CONFIG.format(", tie_word_embeddings=True"),
        T5_CONFIG.format(", tie_word_embeddings=False"),
    ): TIED,
    ("methods/denoising.py", T5_CONFIG.format(", tie_word_embeddings=True"), T5_CONFIG.format("")): TIED,
    (
        "methods/denoising.py",
        "model = T5ForConditionalGeneration(config).float().train()",
        "model = T5ForConditionalGeneration(config).train()",
    ): "float32 is the default",
    (
        "methods/denoising.py",
        "source, _ = corrupt_spans(text, spans, sentinels=[mask_token] * (len(spans) + 1))",
        "source, _ = corrupt_spans(text, spans, sentinels=[mask_token] * (len(spans) + 2))",
    ): "one more of the same sentinel, which is never used",
    (
        "methods/denoising.py",
        f"return model({T5_CALL}, use_cache=False).logits",
        f"return model({T5_CALL}).logits",
    ): ONLY_A_CACHE,
    (
        "methods/denoising.py",
        f"return model({T5_CALL}, use_cache=False).logits",
        f"return model({T5_CALL}, use_cache=True).logits",
    ): ONLY_A_CACHE,
    (
        "methods/denoising.py",
        f"return model({T5_CALL}, use_cache=False).logits",
        f"return model({T5_CALL.rsplit(', ', 1)[0]}, use_cache=False).logits",
    ): "padding stands behind every real token, and a decoder looks to its left",
    (
        "methods/denoising.py",
        "with torch.random.fork_rng(devices=[]):",
        "with torch.random.fork_rng():",
    ): ACCELERATOR,
    (
        "methods/simcse.py",
        SIMCSE.format(", dim=-1"),
        SIMCSE.format(""),
    ): "1 is the default, and the last axis",
    ("methods/simcse.py", SIMCSE.format(", dim=-1"), SIMCSE.format(", dim=1")): "the last axis is axis 1",
    (
        "models/embedding.py",
        "kept = torch.rand(embedded.shape, generator=generator).to(embedded.device) >= dropout",
        "kept = torch.rand(embedded.shape, generator=generator).to(embedded.device) > dropout",
    ): NEVER_EQUAL,
    (
        "models/embedding.py",
        "output = model.base_model(inputs_embeds=embedded, attention_mask=look[:, None], use_cache=False)",
        "output = model.base_model(inputs_embeds=embedded, attention_mask=look[:, None])",
    ): ONLY_A_CACHE,
    (
        "models/embedding.py",
        "output = model.base_model(inputs_embeds=embedded, attention_mask=look[:, None], use_cache=False)",
        "output = model.base_model(inputs_embeds=embedded, attention_mask=look[:, None], use_cache=True)",
    ): ONLY_A_CACHE,
    (
        "models/masks.py",
        "left = torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()",
        "left = torch.ones(length, length, dtype=torch.bool).tril()",
    ): ACCELERATOR,
    (
        "models/masks.py",
        "output = model.base_model(input_ids=tokens, attention_mask=look[:, None], use_cache=False)",
        "output = model.base_model(input_ids=tokens, attention_mask=look[:, None])",
    ): ONLY_A_CACHE,
    (
        "models/masks.py",
        "output = model.base_model(input_ids=tokens, attention_mask=look[:, None], use_cache=False)",
        "output = model.base_model(input_ids=tokens, attention_mask=look[:, None], use_cache=True)",
    ): ONLY_A_CACHE,
    (
        "evaluation/power_law.py",
        "x, y = (np.log(np.asarray(sizes, float)), np.asarray(losses, float))",
        "x, y = (np.log2(np.asarray(sizes, float)), np.asarray(losses, float))",
    ): "a straight line stays one when its axis is stretched",
    (
        "data/selection.py",
        "mean = torch.where(counted, hidden, 0.0).sum(1) / counted.sum(1)",
        "mean = torch.where(counted, hidden, 0.0).sum(1) * counted.sum(1)",
    ): NORMALISED,
    (
        "data/selection.py",
        "mean = torch.where(counted, hidden, 0.0).sum(1) / counted.sum(1)",
        "mean = torch.where(counted, hidden, 0.0).mean(1) / counted.sum(1)",
    ): NORMALISED,
    (
        "data/selection.py",
        "centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)",
        "centres = torch.where(counts > 0, sums / counts.clamp(min=0), centres)",
    ): "where no point is counted, the quotient is not taken",
    (
        "data/selection.py",
        "parts.append(torch.nn.functional.normalize(mean, dim=1).cpu())",
        "parts.append(torch.nn.functional.normalize(mean).cpu())",
    ): "1 is the default",
    (
        "data/selection.py",
        "hidden = hidden_states(model, part.tokens, part.mask).float()",
        "hidden = hidden_states(model, part.tokens, part.mask)",
    ): "differs on an accelerator only, where autocast gives bfloat16",
    (
        "losses/offline.py",
        "return (rewards.detach() > threshold).to(rewards.dtype)",
        "return (rewards > threshold).to(rewards.dtype)",
    ): NO_GRADIENT,
    (
        "losses/offline.py",
        "return torch.where(rewards.detach() > threshold, -logp, 0.0)",
        "return torch.where(rewards > threshold, -logp, 0.0)",
    ): NO_GRADIENT,
    (
        "methods/slic.py",
        f"{ZIP_ANSWERS}, strict=True):",
        f"{ZIP_ANSWERS}):",
    ): SAME_LENGTH,
    (
        "methods/slic.py",
        f"{ZIP_ANSWERS}, strict=True):",
        f"{ZIP_ANSWERS}, strict=False):",
    ): SAME_LENGTH,
    (
        "methods/rest.py",
        "best = -math.inf if evaluate is None else evaluate(policy)",
        "best = math.inf if evaluate is None else evaluate(policy)",
    ): "without an evaluation nothing is compared with the best",
    ("methods/rest.py", BEFORE, BEFORE.replace("None if evaluate is None else ", "")): "a copy never used",
    (
        "methods/rest.py",
        "if evaluate is not None and before is not None:",
        "if evaluate is not None or before is not None:",
    ): "both are None, or neither",
    (
        "methods/rest.py",
        "if not entry.get('accepted', 1.0):",
        "if not entry.get('accepted', 2.0):",
    ): "any number but 0 is true",
    ("methods/rest.py", POOLED.format(", strict=True"), POOLED.format("")): SAME_LENGTH,
    ("methods/rest.py", POOLED.format(", strict=True"), POOLED.format(", strict=False")): SAME_LENGTH,
    ("methods/rest.py", REWARDS.format(", strict=True"), REWARDS.format("")): SAME_LENGTH,
    ("methods/rest.py", REWARDS.format(", strict=True"), REWARDS.format(", strict=False")): SAME_LENGTH,
    (
        "methods/rest.py",
        FACTS.format(" if len(chosen) else math.nan"),
        FACTS.format(""),
    ): "the mean of nothing is nan",
    (
        "worlds/stories/critiques.py",
        "return draw_facts(rng, held_out=False, **told)",
        "return draw_facts(rng, **told)",
    ): "false is the default",
    (
        "worlds/stories/critiques.py",
        "return draw_facts(rng, held_out=False, **told)",
        "return draw_facts(rng, held_out=True, **told)",
    ): "it concerns hero and object, which are given here",
    (
        "worlds/stories/critiques.py",
        "return write_sentences(replace(facts, shape=(role,)), rng)[0]",
        "return write_sentences(replace(facts, shape=(role,)), rng)[-1]",
    ): "there is only one sentence",
    **{
        ("methods/constitution.py", line.format(", strict=True"), line.format(changed)): SAME_LENGTH
        for line in REVISING
        for changed in ("", ", strict=False")
    },
    (
        "worlds/stories/principles.py",
        "return self.measure(prompt, answer) > 1 - 1e-09",
        "return self.measure(prompt, answer) >= 1 - 1e-09",
    ): "no measure lies there",
    (
        "worlds/stories/principles.py",
        "return 1 - reading.repeats / max(len(reading.sentences), 1)",
        "return 1 - reading.repeats / max(len(reading.sentences), 2)",
    ): "a single sentence repeats nothing",
    **{
        ("methods/self_synthesis.py", PARTS.format(", verbose=False"), PARTS.format(changed)): (
            "it concerns a warning for long texts"
        )
        for changed in ("", ", verbose=True")
    },
    (
        "methods/self_synthesis.py",
        "columns = torch.arange(sequences.tokens.shape[1], device=sequences.tokens.device)",
        "columns = torch.arange(sequences.tokens.shape[1])",
    ): ACCELERATOR,
    ("methods/self_synthesis.py", WRITE_PROMPTS.format(512), WRITE_PROMPTS.format(513)): HOW_MANY_AT_ONCE,
    ("methods/self_synthesis.py", WRITE_PROMPTS.format(512), WRITE_PROMPTS.format(511)): HOW_MANY_AT_ONCE,
    ("methods/self_synthesis.py", "if prompts:", "if True:"): "to no prompts there are no answers",
    **{
        (file, line.format(", strict=True"), line.format(changed)): SAME_LENGTH
        for file, line in (
            *(("methods/hir.py", line) for line in HINDSIGHT),
            ("methods/judge.py", WHOLE),
            *((file, PROMPTS_OF) for file in ("methods/judge.py", "methods/answers.py")),
            ("methods/answers.py", SEVERAL),
            ("methods/answers.py", PAIRED),
            ("methods/self_synthesis.py", WRITTEN),
            ("methods/soft_labels.py", LABELS),
            ("methods/soft_labels.py", MIXED),
            ("worlds/sums.py", DIGITS),
        )
        for changed in ("", ", strict=False")
    },
    (
        "methods/soft_labels.py",
        SOFT.format("first.float()", "second.float()"),
        SOFT.format("first", "second.float()"),
    ): ACCELERATOR,
    (
        "methods/soft_labels.py",
        SOFT.format("first.float()", "second.float()"),
        SOFT.format("first.float()", "second"),
    ): ACCELERATOR,
    **{
        ("methods/judge.py", GREEDY.format(0), GREEDY.format(seed)): "the likeliest tokens are not drawn"
        for seed in (1, -1)
    },
    (
        "methods/answers.py",
        "return len(self.texts[0])",
        "return len(self.texts[-1])",
    ): "all prompts have as many answers",
    ("methods/answers.py", "first = several[0]", "first = several[-1]"): "all have the same prompts",
    (
        "methods/judge.py",
        RIGHT.format(">"),
        RIGHT.format(">="),
    ): "one half is left out on the other side of the &",
    ("methods/judge.py", AGREED.format(".float()", ".float()"), AGREED.format("", ".float()")): SUM_OF_BOTH,
    ("methods/judge.py", AGREED.format(".float()", ".float()"), AGREED.format(".float()", "")): SUM_OF_BOTH,
    ("methods/judge.py", "batch: int = 64", "batch: int = 65"): HOW_MANY_AT_ONCE,
    ("methods/judge.py", "batch: int = 64", "batch: int = 63"): HOW_MANY_AT_ONCE,
    (
        "methods/judge.py",
        SHARED.format(", strict=False"),
        SHARED.format(""),
    ): "strict is false by default",
    ("methods/judge.py", PREFIX.format(0), PREFIX.format(1)): "what is shared is the same in all rows",
    ("methods/judge.py", PREFIX.format(0), PREFIX.format(-1)): "what is shared is the same in all rows",
    (
        "methods/judge.py",
        "wanted = torch.tensor([[tail[0] for tail in row] for row in tails])",
        "wanted = torch.tensor([[tail[-1] for tail in row] for row in tails])",
    ): "each has one token here",
    ("methods/judge.py", LAST.format(", device=model.device"), LAST.format("")): ACCELERATOR,
    ("methods/judge.py", GATHERED.format(".float()", -1), GATHERED.format("", -1)): ACCELERATOR,
    (
        "methods/judge.py",
        GATHERED.format(".float()", -1),
        GATHERED.format(".float()", 1),
    ): "the last is axis 1",
    ("methods/judge.py", PADDING.format(0), PADDING.format(1)): BEHIND_THE_MASK,
    ("methods/judge.py", PADDING.format(0), "return 0"): BEHIND_THE_MASK,
    (
        "methods/judge.py",
        "return answer_logps(judge.model, sequences, batch=judge.batch).view(len(starts), -1)",
        "return answer_logps(judge.model, sequences).view(len(starts), -1)",
    ): HOW_MANY_AT_ONCE,
    ("methods/hir.py", AROUND.format(1), AROUND.format(0)): "the row itself does not differ from itself",
    ("methods/hir.py", NAMED.format(0), NAMED.format(1)): "only one is named, and that raises",
    ("methods/hir.py", NAMED.format(0), NAMED.format(-1)): "only one is named, and that raises",
    (
        "methods/hir.py",
        "first = torch.zeros(len(rows), dtype=torch.int64, device=own.device)",
        "first = torch.zeros(len(rows), dtype=torch.int64)",
    ): ACCELERATOR,
    ("methods/hindsight_replay.py", WALKED.format("=="), WALKED.format("!=")): "nobody reads that place",
    **{
        ("methods/hindsight_replay.py", RELABELS.format("relabels - 1, 0"), RELABELS.format(changed)): (
            "what is too many is cut off in the next line"
        )
        for changed in ("relabels + 1, 0", "relabels - 0, 0", "relabels - 1, 1", "relabels - 1, -1")
    },
    (
        "methods/hindsight_replay.py",
        "goes_on = after != goal and (not terminated)",
        "goes_on = after != goal or not terminated",
    ): END_IS_WORTH_NOTHING,
    (
        "methods/hindsight_replay.py",
        TARGET.format("(config.discount * q[after].max() if goes_on else 0.0)"),
        TARGET.format("config.discount * q[after].max()"),
    ): END_IS_WORTH_NOTHING,
    **{
        ("data/digits.py", CHARACTERS.format(CLEAN, RIGHT_SIDE), CHARACTERS.format(*left)): "the default"
        for left in ((CLEAN, ""), ("", RIGHT_SIDE))
    },
    ("worlds/sums.py", "MOST_LISTED = 20000", "MOST_LISTED = 20001"): NO_SUCH_LEVEL,
    ("worlds/sums.py", "MOST_LISTED = 20000", "MOST_LISTED = 19999"): NO_SUCH_LEVEL,
    (
        "worlds/sums.py",
        "if len(level.range) ** level.numbers <= MOST_LISTED:",
        "if len(level.range) ** level.numbers < MOST_LISTED:",
    ): NO_SUCH_LEVEL,
    (
        "worlds/sums.py",
        "steps, place = ([], 0)",
        "steps, place = ([], -1)",
    ): "a place before the text counts as its beginning",
    **{
        (
            "worlds/sums.py",
            "carry = step.total // 10 if step is not None else 0",
            f"carry = step.total // 10 if step is not None else {changed}",
        ): "after a step that is missing all others are"
        for changed in ("1", "-1")
    },
    **{
        ("worlds/sums.py", COLUMNS.format(", default=10", 9), COLUMNS.format(changed, 9)): (
            "that there are columns is asked before"
        )
        for changed in ("", ", default=11", ", default=9")
    },
    ("worlds/sums.py", COLUMNS.format(", default=10", 9), COLUMNS.format(", default=10", 10)): WRITTEN_ANEW,
    ("worlds/sums.py", NUMBERS.format("any"), NUMBERS.format("all")): WRITTEN_ANEW,
    ("worlds/sums.py", "return None", "return"): "they are the same",
    (
        "worlds/sums.py",
        "return zlib.crc32(numbers.encode()) % 1000 < 1000 * HELD_OUT_SHARE",
        "return zlib.crc32(numbers.encode()) % 1000 < 999 * HELD_OUT_SHARE",
    ): "the same whole numbers lie below 199.8 as below 200",
    (
        "worlds/sums.py",
        "return [_slipped(problem, rng) if rng.random() < error_rate else problem.solution "
        "for problem in problems]",
        "return [_slipped(problem, rng) if rng.random() <= error_rate else problem.solution "
        "for problem in problems]",
    ): NEVER_EQUAL,
    ("worlds/sums.py", SLIP.format(", place=place, rng=rng"), SLIP.format(", rng=rng")): DRAWN_AGAIN,
    ("worlds/sums.py", SLIP.format(", place=place, rng=rng"), SLIP.format(", place=place")): DRAWN_AGAIN,
    **{
        ("worlds/sums.py", WORK.format("-1"), WORK.format(changed)): "without a generator nothing slips"
        for changed in ("1", "-2", "-0")
    },
    (
        "worlds/sums.py",
        "elif slip == 'carry':",
        "elif slip != 'carry':",
    ): "two slips of the same chance change their names",
    ("methods/mixed_batches.py", MEAN_LENGTH.format("0.0"), MEAN_LENGTH.format("1.0")): NEVER_FALSE,
    ("methods/mixed_batches.py", MEAN_LENGTH.format("0.0"), MEAN_LENGTH.format("-1.0")): NEVER_FALSE,
    ("tensors.py", "if temperature != 1.0:", "if True:"): SAVES_A_COPY,
    ("tensors.py", "if temperature != 1.0:", "if temperature != 0.0:"): SAVES_A_COPY,
    (
        "tensors.py",
        "next_token = tokens.roll(-1, dims=1)",
        "next_token = tokens.roll(-1)",
    ): "differs in the last column, which is dropped",
    (
        "tensors.py",
        "position = torch.arange(mask.shape[1], device=mask.device)",
        "position = torch.arange(mask.shape[1])",
    ): "differs on an accelerator only",
    ("estimators/advantages.py", f"{ZIP_THREE}, strict=True)", f"{ZIP_THREE})"): SHAPES_COMPARED,
    (
        "estimators/advantages.py",
        f"{ZIP_THREE}, strict=True)",
        f"{ZIP_THREE}, strict=False)",
    ): SHAPES_COMPARED,
    ("estimators/returns.py", f"{ZIP_TWO}, strict=True):", f"{ZIP_TWO}):"): SHAPES_COMPARED,
    ("estimators/returns.py", f"{ZIP_TWO}, strict=True):", f"{ZIP_TWO}, strict=False):"): SHAPES_COMPARED,
    ("estimators/entropy.py", ENTROPY.format("0.0"), ENTROPY.format("1.0")): TIMES_ZERO,
    ("estimators/entropy.py", ENTROPY.format("0.0"), ENTROPY.format("-1.0")): TIMES_ZERO,
    (
        "exact/distributions.py",
        "total = float(logp.detach().exp().sum())",
        "total = float(logp.exp().sum())",
    ): "float() leaves the graph too, with a warning",
    (
        "exact/distributions.py",
        "if not abs(total - 1) < 1e-05:",
        "if not abs(total - 1) <= 1e-05:",
    ): "no sum of doubles is exactly 1e-5 from 1",
    (
        "exact/language.py",
        CLOSE.format("table[pair], counted"),
        CLOSE.format("counted, table[pair]"),
    ): "symmetric if rtol is 0",
    (
        "exact/language.py",
        "ended = table.new_zeros(1, self.vocabulary)",
        "ended = table.new_zeros(2, self.vocabulary)",
    ): NEVER_READ,
    (
        "exact/language.py",
        "return torch.cat([values, values.new_zeros(1)])[self.state_before]",
        "return torch.cat([values, values.new_zeros(2)])[self.state_before]",
    ): NEVER_READ,
    (
        "exact/offline.py",
        "log_partition = weighted.logsumexp(0)",
        "log_partition = weighted.logsumexp(-1)",
    ): ONE_AXIS,
    (
        "exact/optimum.py",
        "log_partition = tilted.logsumexp(0)",
        "log_partition = tilted.logsumexp(-1)",
    ): ONE_AXIS,
    (
        "exact/policy.py",
        "logits = torch.zeros(pairs, dtype=torch.float64).index_add(0, through, mass).log()",
        "logits = torch.zeros(pairs, dtype=torch.float64).index_add(-1, through, mass).log()",
    ): ONE_AXIS,
    (
        "exact/policy.py",
        "table = torch.cat([self.logits, self.logits.new_zeros(1, self.language.vocabulary)])",
        "table = torch.cat([self.logits, self.logits.new_zeros(2, self.language.vocabulary)])",
    ): NEVER_READ,
    (
        "exact/policy.py",
        "values = reward.new_zeros(len(language.states) + 1)",
        "values = reward.new_zeros(len(language.states) + 2)",
    ): NEVER_READ,
}

COMPARISONS = {
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
}
ARITHMETIC = {
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Div],
    ast.Div: [ast.Mult],
    ast.Pow: [ast.Mult],
    ast.BitAnd: [ast.BitOr],
    ast.BitOr: [ast.BitAnd],
}
NAMES = {
    "minimum": "maximum",
    "maximum": "minimum",
    "amax": "amin",
    "any": "all",
    "all": "any",
    "zeros": "ones",
    "zeros_like": "ones_like",
    "new_zeros": "new_ones",
    "masked_sum": "masked_mean",
    "masked_mean": "masked_sum",
    "exp": "exp2",
    "log": "log2",
    "sum": "mean",
}
SYMMETRIC = {"minimum", "maximum", "min", "max"}  # exchanging their arguments changes nothing
UNWRAPPED = {"detach", "clone", "double", "float"}  # x.detach() becomes x


class Mutant(NamedTuple):
    """One change: where, what the line said and says now, and the whole file."""

    file: str
    line: int
    before: str
    after: str
    source: str


def replacements(node: ast.AST) -> Iterator[ast.AST]:
    """What could stand in the place of a node."""
    match node:
        case ast.Compare(ops=[op]):
            for other in COMPARISONS.get(type(op), []):
                yield ast.Compare(node.left, [other()], node.comparators)
        case ast.Compare(ops=[first, second]):
            for other in COMPARISONS.get(type(first), []):
                yield ast.Compare(node.left, [other(), second], node.comparators)
            for other in COMPARISONS.get(type(second), []):
                yield ast.Compare(node.left, [first, other()], node.comparators)
        case ast.BinOp():
            for other in ARITHMETIC.get(type(node.op), []):
                yield ast.BinOp(node.left, other(), node.right)
        case ast.BoolOp():
            yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        case ast.UnaryOp():
            yield node.operand
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int() | float()):
            yield ast.Constant(node.value + 1)
            yield ast.Constant(node.value - 1)
        case ast.IfExp():
            yield node.body
            yield node.orelse
        case ast.If():
            for always in (True, False):
                yield ast.If(ast.Constant(always), node.body, node.orelse)
        case ast.Return(value=ast.AST()):
            yield ast.Return(None)
        case ast.Expr(value=ast.Call()) | ast.For():
            yield ast.Pass()
        case ast.Call():
            yield from call_replacements(node)


def call_replacements(node: ast.Call) -> Iterator[ast.AST]:
    """A call with another name, without one keyword, with its last arguments exchanged, or not made."""
    for index in range(len(node.keywords)):
        if node.keywords[index].arg == "description":  # a word beside the progress bar
            continue
        yield ast.Call(node.func, node.args, node.keywords[:index] + node.keywords[index + 1 :])
    called = getattr(node.func, "attr", getattr(node.func, "id", None))
    if len(node.args) > 1 and called not in SYMMETRIC:
        yield ast.Call(node.func, [*node.args[:-2], node.args[-1], node.args[-2]], node.keywords)
    match node.func:
        case ast.Attribute(attr=name) if name in NAMES:
            yield ast.Call(ast.Attribute(node.func.value, NAMES[name], ast.Load()), node.args, node.keywords)
        case ast.Name(id=name) if name in NAMES and name != "sum":
            yield ast.Call(ast.Name(NAMES[name], ast.Load()), node.args, node.keywords)
        case ast.Attribute(attr=name) if name in UNWRAPPED:
            yield node.func.value
        case ast.Name(id="reversed"):
            yield node.args[0]


def places(tree: ast.AST, path: tuple = ()) -> Iterator[tuple[tuple, ast.AST]]:
    """Every node that may be changed, with the way to it; no messages, annotations, docstrings or imports."""
    for name, value in ast.iter_fields(tree):
        skipped = name in ("annotation", "returns", "decorator_list") or isinstance(tree, ast.Raise)
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if skipped or not isinstance(child, ast.AST) or isinstance(child, ast.Import | ast.ImportFrom):
                continue
            way = (*path, (name, index))
            yield way, child
            yield from places(child, way)


def mutants_of(file: Path) -> Iterator[Mutant]:
    """All mutants of one file, in the order of its lines."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    unchanged = [*ast.unparse(tree).splitlines(), ""]
    seen = {ast.unparse(tree)}
    for way, node in places(tree):
        for replacement in replacements(node):
            changed = copy.deepcopy(tree)
            parent = changed
            for name, index in way[:-1]:
                parent = getattr(parent, name) if index is None else getattr(parent, name)[index]
            name, index = way[-1]
            if index is None:
                setattr(parent, name, ast.copy_location(replacement, node))
            else:
                getattr(parent, name)[index] = ast.copy_location(replacement, node)
            source = ast.unparse(ast.fix_missing_locations(changed))
            if source not in seen:
                seen.add(source)
                pairs = zip(unchanged, [*source.splitlines(), ""], strict=False)
                before, after = next(pair for pair in pairs if pair[0] != pair[1])
                name = str(file.relative_to(ROOT / "rlhf_mini"))
                yield Mutant(name, node.lineno, before.strip(), after.strip(), source)


def files_of(module: str) -> list[Path]:
    """The source files of one module, without those that only pass names on."""
    found = []
    for part in MODULES[module][0]:
        path = ROOT / "rlhf_mini" / part
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return [path for path in found if path.name != "__init__.py"]


def passes(folder: Path, tests: list[str]) -> bool:
    """Whether the tests pass in the copy; run in a fork, so that libraries are loaded only once."""
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        sys.path.insert(0, str(folder))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        import pytest

        options = ["-x", "-q", "--tb=no", "--import-mode=importlib", "--hypothesis-seed=0", "-o", "addopts="]
        plugins = ["no:cacheprovider", "no:doctest", "no:unraisableexception", "_hypothesis_pytestplugin"]
        code = pytest.main([*options, *(part for name in plugins for part in ("-p", name)), *tests])
        os._exit(int(code))
    return os.waitpid(child, 0)[1] == 0


def main() -> None:
    """Run the mutants of the chosen modules and print the survivors and the score."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", metavar="module", help=", ".join(MODULES))
    parser.add_argument("--list", action="store_true", help="print the mutants and stop")
    arguments = parser.parse_args()
    unknown = set(arguments.modules) - set(MODULES)
    if unknown:
        parser.error(f"unknown module {sorted(unknown)}; choose from {', '.join(MODULES)}")
    os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    sys.dont_write_bytecode = True
    if arguments.list:
        for module in arguments.modules or MODULES:
            for mutant in (m for file in files_of(module) for m in mutants_of(file)):
                print(f"{mutant.file}:{mutant.line}: {mutant.after}")
        return
    import hypothesis  # noqa: F401  # loaded once, before the forks
    import pytest  # noqa: F401
    import torch
    from transformers import LlamaForCausalLM  # noqa: F401

    torch.set_num_threads(1)
    gc.freeze()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        hidden = shutil.ignore_patterns("__pycache__")
        for part in ("rlhf_mini", "tests"):
            shutil.copytree(ROOT / part, folder / part, ignore=hidden)
        shutil.copy(ROOT / "pyproject.toml", folder)
        totals = [run(module, folder) for module in arguments.modules or MODULES]
    noticed, equivalent, count = (sum(column) for column in zip(*totals, strict=True))
    print(f"all: {noticed} of {count} noticed ({noticed / count:.1%}), {equivalent} survivors are equivalent")


def run(module: str, folder: Path) -> tuple[int, int, int]:
    """Noticed, equivalent and all mutants of one module."""
    tests, start = MODULES[module][1], time.time()
    if not passes(folder, tests):
        raise SystemExit(
            f"{module}: the tests fail without any change; run `python -m pytest {' '.join(tests)}`"
        )
    noticed = equivalent = count = 0
    for file in files_of(module):
        copied = folder / file.relative_to(ROOT)
        for mutant in mutants_of(file):
            copied.write_text(mutant.source, encoding="utf-8")
            count += 1
            if not passes(folder, tests):
                noticed += 1
                continue
            reason = EQUIVALENT.get((mutant.file, mutant.before, mutant.after))
            equivalent += reason is not None
            print(
                f"survived {mutant.file}:{mutant.line}: {mutant.after}   [{reason or 'NOT EXPLAINED'}]",
                flush=True,
            )
        shutil.copy(file, copied)
    share = noticed / count
    print(
        f"{module}: {noticed} of {count} noticed ({share:.1%}), {equivalent} survivors are equivalent, ",
        end="",
    )
    print(f"{time.time() - start:.0f} s", flush=True)
    return noticed, equivalent, count


if __name__ == "__main__":
    main()
