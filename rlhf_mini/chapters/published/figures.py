"""The chapter's tables and figures: what the reports say, and where the miniatures land, drawn from records.

A record's `method` is the row's name, recipe and step or variant; its metrics also say `recipe`, `variant`
and `step`, by which everything is found here. Means are over seeds with Student's 95% intervals; of one seed
there is no interval.
"""

import html
import re
from collections.abc import Mapping, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rlhf_mini.chapters.published.command import FACTS, page
from rlhf_mini.chapters.record_figures import recorded_in
from rlhf_mini.evaluation.intervals import Interval, student_interval
from rlhf_mini.evaluation.record_tables import Cell
from rlhf_mini.evaluation.records import Record
from rlhf_mini.reader import Curve, Picture, beside, learning_curves, new_figure, picture, training_curves
from rlhf_mini.reader.marks import SHAPES
from rlhf_mini.reader.naming import name_marks
from rlhf_mini.reader.picture import framed
from rlhf_mini.reader.plots import in_style
from rlhf_mini.reader.sortable import NOTHING, Shown, shown, sortable_table
from rlhf_mini.reader.style import INK, css_colour, role_colour
from rlhf_mini.recipes.o1 import checkpoint_iterations
from rlhf_mini.recipes.recipe import Recipe
from rlhf_mini.recipes.registry import RECIPES

recorded = partial(recorded_in, "13")  # the records of an experiment, "recipes" or "variants", by seed

# What makes each miniature's last policy, and the role whose colour and shape it has.
GROUPS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "PPO, with a critic": ("policy", ("instructgpt", "gpt4", "gemini", "internlm2", "claude3", "chatglm")),
    "PPO after APA": ("value", ("starling",)),
    "no critic": ("gold", ("deepseek_v2", "gemma2")),
    "a loss on pairs": ("reward", ("zephyr_orpo", "nemotron4", "qwen2")),
    "best of K, SFT, DPO": ("data", ("llama3",)),
}
# metric → heading, decimals, factor
COLUMNS: Mapping[str, tuple[str, int, int]] = {
    "gold": ("gold", 2, 1),
    "helpfulness": ("helpful", 2, 1),
    "safety": ("safe", 2, 1),
    "proxy": ("proxy", 2, 1),
    "kl_k3": ("KL (nats)", 1, 1),
    "distinct_2": ("distinct pairs (%)", 1, 100),
    "length": ("tokens", 0, 1),
    "unkind_declined": ("unkind: declined (%)", 0, 100),
    "kind_declined": ("kind: declined (%)", 0, 100),
}
CHANGES = ("gold", "helpfulness", "safety", "kl_k3", "distinct_2", "right, one")  # of a variant, in its table
SUMS = {"right, one": ("right, of sums (%)", 0, 100)}
READ_OUTS: Mapping[str, tuple[str, str]] = {  # of the records → in words, and its role
    "one": ("one sample", "reference"),
    "vote": ("the vote", "policy"),
    "scorer": ("the scorer's best", "reward"),
    "pass": ("any of them right", "gold"),
}
# Sentences in a table must wrap, or it is as wide as they are long.
_CELL = "text-align:left;vertical-align:top"
_SENTENCE = f"white-space:normal;min-width:11rem;{_CELL}"
_LINKED = re.compile(
    r"https://\S+|arXiv (?P<arxiv>\d{4}\.\d{5})|openreview (?P<review>\w+)|(?P<host>(huggingface|openai)\.com?/[^;\s]+)"
)


# --------------------------------------------------------------------------------------- what the reports say


def facts_table() -> Picture:
    """A row a recipe, in the chapter's order: what its report says of data, reward, optimiser and so on."""
    headings = ["recipe", *FACTS, "year", "report"]
    rows = [
        [
            shown(recipe.title),
            *(shown(getattr(recipe, name)) for name in FACTS),
            Shown(str(recipe.year), recipe.year),
            shown(recipe.report),
        ]
        for recipe in RECIPES.values()
    ]
    caption = (
        "What the reports say; the miniatures' settings are on the recipes' own pages. “Not stated” is what "
        "the report leaves out; “a secondary source” is what was read of it elsewhere. Click a heading to sort."
    )
    told = sortable_table(headings, rows, caption=caption)
    body = told.body
    for start, style in (("<td", _SENTENCE), ('<th scope="col"', _CELL), ('<th scope="row"', _CELL)):
        body = body.replace(f"{start} ", f'{start} style="{style}" ')
    years = re.compile(rf'<td style="{_SENTENCE}" data-key="(\d{{4}})">')
    body = years.sub(rf'<td style="{_CELL}" data-key="\1">', body)
    return Picture(body, told.text)


def card(recipe: Recipe) -> Picture:
    """A recipe on a page: what its report says and leaves out, what circulates wrongly, and our departures.

    Cards stand side by side where there is room, and one under the other on a phone.
    """
    facts = "".join(f"<li><b>{name}</b>: {html.escape(getattr(recipe, name))}</li>" for name in FACTS)
    cards = [
        _card("what the report says", "data", facts + _items(recipe.reported)),
        _card("what it leaves out", "reference", _items(recipe.left_out)),
        _card("set right", "gold", _items(recipe.set_right)),
        _card("our miniature departs", "policy", _items(recipe.departures)),
    ]
    steps, variants = ", ".join(recipe.steps), ", ".join(recipe.variants) or "none"
    body = (
        f'<div class="rm-prompt">{html.escape(recipe.title)} ({recipe.year})</div>'
        f'<p class="rm-meta">{html.escape(recipe.report)}, {linked(recipe.address)}</p>'
        f'<div class="rm-cards">{"".join(cards)}</div>'
    )
    return Picture(
        framed(body, alt="", caption=f"Its policies: {steps}. Its variants: {variants}.").body, page(recipe)
    )


def linked(address: str) -> str:
    """An address as HTML, in which what can be followed is a link.

    >>> linked("openreview abc; 2024")
    '<a href="https://openreview.net/forum?id=abc">openreview abc</a>; 2024'
    """
    parts, place = [], 0
    for found in _LINKED.finditer(address):
        parts += [html.escape(address[place : found.start()]), _anchor(found)]
        place = found.end()
    return "".join([*parts, html.escape(address[place:])])


def _anchor(found: re.Match[str]) -> str:
    target, words = found[0], html.escape(found[0])
    if found["arxiv"]:
        target = f"https://arxiv.org/abs/{found['arxiv']}"
    elif found["review"]:
        target = f"https://openreview.net/forum?id={found['review']}"
    elif found["host"]:
        target = f"https://{found['host']}"
    return f'<a href="{html.escape(target)}">{words}</a>'


def _items(lines: Sequence[str]) -> str:
    return "".join(f"<li>{html.escape(line)}</li>" for line in lines)


def _card(title: str, role: str, items: str) -> str:
    return (
        f'<div class="rm-card" style="--rm-role:{css_colour(role)}"><h4>{title}</h4>'
        f'<ul style="margin:0;padding-left:1.1rem;overflow-wrap:anywhere">{items}</ul></div>'
    )


# ------------------------------------------------------------------------------------ where the miniatures land


def outcome(records: Sequence[Record], recipe: Recipe, *, step: str = "", variant: str = "") -> list[Record]:
    """The records of a recipe's step, of its last one by default, or of a variant, by seed.

    Raises ValueError if a seed is there twice.
    """
    step = step or recipe.steps[-1]
    found = [
        record
        for record in records
        if (record.metrics["recipe"], record.metrics["variant"]) == (recipe.name, variant)
        and (variant or record.metrics["step"] == step)
    ]
    if len({record.seed for record in found}) < len(found):
        raise ValueError(f"{recipe.name}, {variant or step}: a seed is on record twice")
    return sorted(found, key=lambda record: record.seed)


def interval_of(values: Sequence[float]) -> Interval:
    """The mean with Student's interval; of one value a point."""
    if len(values) > 1:
        return student_interval(values)
    return Interval(mean=values[0], low=values[0], high=values[0], confidence=0.95, count=1)


def shown_mean(values: Sequence[float], *, decimals: int, factor: int = 1) -> Shown:
    """A mean with ± half its interval, sorted by the mean; a dash where there is no value."""
    if not values:
        return NOTHING
    interval = interval_of([factor * value for value in values])
    cell = Cell(interval.mean, interval.half_width if len(values) > 1 else None, len(values))
    return Shown(cell.text(decimals=decimals), cell.mean)


def _values(records: Sequence[Record], metric: str) -> list[float]:
    return [float(record.metrics[metric]) for record in records if metric in record.metrics]


def steps_table(records: Sequence[Record]) -> Picture:
    """A row a step of each recipe on stories, in the chapter's order, with all that is known of its policy.

    Raises ValueError if none is on record.
    """
    rows = []
    for recipe in RECIPES.values():
        for place, step in enumerate(recipe.steps, start=1):
            found = outcome(records, recipe, step=step)
            if not _values(found, "gold"):
                continue
            cells = (
                shown_mean(_values(found, metric), decimals=decimals, factor=factor)
                for metric, (_, decimals, factor) in COLUMNS.items()
            )
            count = Shown(str(len(found)), len(found))
            rows.append([shown(recipe.title), Shown(f"{place}. {step}", f"{place} {step}"), *cells, count])
    if not rows:
        raise ValueError("no recipe on stories is on record")
    headings = ["recipe", "after", *(title for title, _, _ in COLUMNS.values()), "seeds"]
    caption = (
        "The policy after each of a recipe's steps, asked for one answer to each held-out request at temperature "
        "1; mean over seeds ± 95% interval (Student's). KL is to the SFT model, k3; the proxy is the book's own "
        "reward model, which most recipes never see. Click a heading to sort."
    )
    return sortable_table(headings, rows, caption=caption)


def variants_table(records: Sequence[Record], variants: Sequence[Record]) -> Picture:
    """What makes a recipe this recipe: its last policy's numbers less those of each variant, seed by seed.

    `records` are those of the recipes. Raises ValueError if no variant shares a seed with its recipe.
    """
    titles = {**COLUMNS, **SUMS}
    rows = []
    for recipe in RECIPES.values():
        whole = {record.seed: record for record in outcome(records, recipe)}
        for name in recipe.variants:
            pairs = [
                (whole[record.seed].metrics, record.metrics)
                for record in outcome(variants, recipe, variant=name)
                if record.seed in whole
            ]
            if not pairs:
                continue
            cells = []
            for metric in CHANGES:
                _, decimals, factor = titles[metric]
                less = [a[metric] - b[metric] for a, b in pairs if metric in a and metric in b]
                cells.append(shown_mean(less, decimals=decimals, factor=factor))
            rows.append([shown(recipe.title), shown(name), *cells, Shown(str(len(pairs)), len(pairs))])
    if not rows:
        raise ValueError("no variant is on record together with its recipe")
    headings = ["recipe", "less its variant", *(titles[metric][0] for metric in CHANGES), "seeds"]
    caption = (
        "The recipe's last policy less the variant's: above 0 the recipe has more. Differences are taken seed by "
        "seed; ± is half of Student's 95% interval, and where it is larger than the difference the seeds do not "
        "tell the two apart. o1's policies are asked for sums, all others for stories."
    )
    return sortable_table(headings, rows, caption=caption)


def group_of(recipe: Recipe) -> str:
    """What makes its last policy. Raises ValueError for a recipe that is in none of `GROUPS`."""
    for group, (_, names) in GROUPS.items():
        if recipe.name in names:
            return group
    raise ValueError(f"{recipe.name} is in none of the groups {[*GROUPS]}")


def landed(records: Sequence[Record]) -> dict[str, tuple[Recipe, float, Interval]]:
    """Of every recipe on stories that is on record its mean KL to the SFT model, and gold, after the last step."""
    found = {}
    for recipe in RECIPES.values():
        here = outcome(records, recipe)
        golds, kls = _values(here, "gold"), _values(here, "kl_k3")
        if golds and kls:
            found[recipe.title] = (recipe, sum(kls) / len(kls), interval_of(golds))
    return found


@in_style
def landing(records: Sequence[Record], *, sft_gold: float | None = None) -> Picture:
    """Where each recipe lands: gold against KL on a logarithmic axis, names beside the marks.

    - `sft_gold`: the SFT model's gold, drawn as a line; its KL is 0, which the axis does not have.

    Raises ValueError if no recipe has a KL above 0.
    """
    marks = {title: mark for title, mark in landed(records).items() if mark[1] > 0}
    if not marks:
        raise ValueError("nothing to draw: no recipe on stories is on record with a KL above 0")
    figure = new_figure(height=4.6)
    (axes,) = figure.axes
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.margins(x=0.08)
    for recipe, kl, gold in marks.values():
        role = GROUPS[group_of(recipe)][0]
        axes.plot([kl] * 2, [gold.low, gold.high], color=role_colour(role), linewidth=1.1, alpha=0.55)
        axes.plot(kl, gold.mean, SHAPES[role], color=role_colour(role), markersize=6.5)
    present = {group_of(recipe) for recipe, _, _ in marks.values()}
    for group, (role, _) in GROUPS.items():
        if group in present:
            axes.plot([], [], SHAPES[role], color=role_colour(role), label=group, markersize=6)
    if sft_gold is not None:
        axes.axhline(sft_gold, color=INK, linewidth=1.0, linestyle=(0, (1, 1.5)), label="SFT's gold")
    axes.set_xlabel("KL to the SFT model (nats, k3)")
    axes.set_title("gold of answers to held-out requests", fontsize=10.5, pad=8)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    _name(axes, marks)
    figure.legend(loc="outside lower center", ncols=2, fontsize=9, handletextpad=0.4, columnspacing=1.2)
    order = sorted(marks, key=lambda title: -marks[title][2].mean)
    told = ", ".join(
        f"{title} {_plain(marks[title][2].mean)} at {marks[title][1]:.1f} nats" for title in order
    )
    start = "" if sft_gold is None else f" SFT has {_plain(sft_gold)}."
    seeds = {gold.count for _, _, gold in marks.values()}
    bars = "Bars: Student's 95% intervals over seeds. " if max(seeds) > 1 else ""
    return picture(
        figure,
        alt=f"Gold against KL of {len(marks)} recipes, from the top: {told}.{start}",
        caption=f"{bars}Seeds: {min(seeds)}{'' if len(seeds) == 1 else f' to {max(seeds)}'}. Recipes differ in "
        "their data and in their work: the picture says where they land, not which method is better.",
    )


def _plain(gold: float) -> str:
    return f"{gold:.2f}".replace("-", "−")


def _name(axes: Axes, marks: Mapping[str, tuple[Recipe, float, Interval]]) -> None:
    """Titles beside their marks, with a line to those that stand off."""
    points = {title: (kl, gold.mean) for title, (_, kl, gold) in marks.items()}
    colours = {title: role_colour(GROUPS[group_of(recipe)][0]) for title, (recipe, _, _) in marks.items()}
    name_marks(axes, points, colours)


# ------------------------------------------------------------------------------------------------------ on sums


def test_time_figure(records: Sequence[Record]) -> Picture:
    """o1's two axes: right answers against samples at the test, and against iterations of training.

    Left of the last policy, by three ways to choose and by the best that any choice could do; right of every
    checkpoint's single sample and vote. Thin lines are seeds. Raises ValueError if o1 is not on record.
    """
    recipe = RECIPES["o1"]
    last = outcome(records, recipe)
    if not last:
        raise ValueError("o1 is not on record")
    tries = last[0].metrics["tries"]
    curves = [
        Curve(words, role, tries, [record.metrics[f"{name} by tries"] for record in last])
        for name, (words, role) in READ_OUTS.items()
    ]
    ends = "; ".join(f"{curve.label} {curve.ys[:, -1].mean():.0%}" for curve in curves)
    at_test = learning_curves(
        curves, xlabel="samples to a problem", ylabel="share of right answers",
        alt=f"Right answers to held-out sums by the number of samples; with {tries[-1]:.0f} of them: {ends}.",
    )  # fmt: skip
    return beside(at_test, _by_training(records, recipe))


def _by_training(records: Sequence[Record], recipe: Recipe) -> Picture:
    after = {"sft": 0, **checkpoint_iterations(recipe.settings["iterations"])}
    steps = {step: outcome(records, recipe, step=step) for step in recipe.steps}
    seeds = set.intersection(*({one.seed for one in found} for found in steps.values() if found))
    there = [step for step, found in steps.items() if found]
    curves = [
        Curve(words, role, [after[step] for step in there], [
            [next(one.metrics[f"right, {name}"] for one in steps[step] if one.seed == seed) for step in there]
            for seed in sorted(seeds)
        ])
        for name, (words, role) in READ_OUTS.items() if name in ("one", "vote")
    ]  # fmt: skip
    ends = "; ".join(
        f"{curve.label} from {curve.ys[:, 0].mean():.0%} to {curve.ys[:, -1].mean():.0%}" for curve in curves
    )
    return training_curves(
        curves, xlabel="iterations of reinforcement learning", ylabel="share of right answers",
        alt=f"Right answers to held-out sums by training: {ends}.",
    )  # fmt: skip
