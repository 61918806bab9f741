"""The chapter's figures: our curves under TRL's marks, what both cost, memory by its parts, cost by size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rlhf_mini.chapters.real.beside_costs import SIDES
from rlhf_mini.chapters.real.beside_records import DISTANCES, SETTINGS, on_record
from rlhf_mini.chapters.real.sizes import PARTS, SHAPES, WAYS, parts_in_gib, training_bill
from rlhf_mini.evaluation.intervals import student_interval
from rlhf_mini.evaluation.record_tables import Cell, RecordTable
from rlhf_mini.evaluation.training_cost import GIB, H100, Hardware
from rlhf_mini.reader import Picture, beside, frames, new_figure, picture, records
from rlhf_mini.reader.plots import DASHES, finish, finite_array, in_style, put_beside
from rlhf_mini.reader.sortable import Shown, shown, sortable_table
from rlhf_mini.reader.style import INK, role_colour

UNITS = {
    "sft": "loss (nats per token)",
    "reward model": "loss (nats per pair)",
    "dpo": "loss (nats per pair)",
    "kto": "loss (utility per answer)",
    "grpo": "gradient norm",
}
NAMES = {"sft": "SFT", "reward model": "reward model", "dpo": "DPO", "kto": "KTO", "grpo": "GRPO"}
PART_ROLES = {
    "weights": "policy",
    "frozen": "reference",
    "gradients": "loss",
    "optimizer": "value",
    "activations": "data",
}
HATCHES = {"weights": "", "frozen": "..", "gradients": "///", "optimizer": "", "activations": "\\\\\\"}
BILLED = {"SFT": "data", "DPO": "policy", "PPO": "reward"}  # method → the role of its curve


@dataclass(frozen=True, kw_only=True)
class TwoCurves:
    """A number by step, of our training and of TRL's: the loss, or for GRPO the gradient's norm."""

    method: str
    ours: Sequence[float]
    trl: Sequence[float]

    def __post_init__(self) -> None:
        """Refuse curves of different lengths, and methods without a unit."""
        if self.method not in UNITS or len(self.ours) != len(self.trl):
            raise ValueError(
                f"need one of {', '.join(UNITS)} and as many steps on either side, got {self.method!r}, "
                f"{len(self.ours)} and {len(self.trl)}"
            )

    @property
    def apart(self) -> float:
        """The largest difference over all steps."""
        return max(abs(one - other) for one, other in zip(self.ours, self.trl, strict=True))


def overlaid(curves: Sequence[TwoCurves], *, marks: int = 12) -> Picture:
    """One panel a method: our curve as a line, TRL's as rings on it, at most about `marks` of them."""
    return beside(*(_one_overlaid(one, marks) for one in curves))


@in_style
def _one_overlaid(curves: TwoCurves, marks: int) -> Picture:
    ours, trl = finite_array(curves.ours, "ours"), finite_array(curves.trl, "TRL's")
    steps, every = range(1, len(ours) + 1), max(1, len(ours) // marks)
    figure = new_figure(height=2.9)
    axes = figure.axes[0]
    axes.plot(steps, ours, color=role_colour("policy"), label="rlhf_mini")
    axes.plot(
        steps, trl, "o", markevery=every, markersize=7, markerfacecolor="none", markeredgewidth=1.4,
        color=role_colour("loss"), label="TRL",
    )  # fmt: skip
    finish(axes, xlabel="step", ylabel=f"{NAMES[curves.method]}: {UNITS[curves.method]}")
    axes.legend(fontsize=9, loc="best")
    alt = (
        f"{NAMES[curves.method]}, {UNITS[curves.method]} over {len(ours)} steps: ours goes from {ours[0]:.3f} to "
        f"{ours[-1]:.3f}, and the rings of TRL's lie on the line, nowhere farther than {curves.apart:.0e} from it."
    )
    return picture(figure, alt=alt.replace("-", "−").replace("e−0", "e−"))


def five_on_record() -> list[TwoCurves]:
    """The five methods' curves on the first seed on record; ValueError where there is no record."""
    rows = [one for one in on_record("claims") if one.method == "beside TRL"]
    if not rows:
        raise ValueError("no curves on record: measure them by `rlhf-mini claims 15`, with TRL installed")
    first = min(rows, key=lambda one: one.seed).metrics
    return [TwoCurves(method=name, ours=first[f"ours {name}"], trl=first[f"trl {name}"]) for name in UNITS]


def settings_table() -> Picture:
    """How far each setting parts our training and TRL's, and how far apart they are without; the largest of the seeds on
    record, and of the settings that part them the smallest."""
    rows = [one for one in on_record("claims") if one.method == "a wrong setting"]
    if not rows:
        raise ValueError("no settings on record: measure them by `rlhf-mini claims 15`, with TRL installed")
    seeds = sorted(one.seed for one in rows)
    numbers = [one.metrics for one in rows]
    lines = []
    for method, name in NAMES.items():
        most = [max(each[f"{what}, {method} alike"] for each in numbers) for what in DISTANCES]
        lines.append([shown(f"{name}: all alike"), shown(""), *map(_scientific, most)])
    for name, setting in SETTINGS.items():
        least = [min(each[f"{what} {name}"] for each in numbers) for what in DISTANCES]
        told = f"{NAMES[setting.method]}: " if ":" not in name else ""
        lines.append([shown(told + name), shown("yes" if setting.default else ""), *map(_scientific, least)])
    return sortable_table(
        ("setting", "TRL's default", "losses", "norms of gradients", "ends"),
        lines,
        caption="Losses: the largest difference over all steps, in the loss's unit. Norms: the same, as a part of our largest. Ends: the "
        "distance of the trained weights, as a part of the way from the start. Where all is alike the largest of the "
        f"seeds {', '.join(map(str, seeds))}, else the smallest.",
    )


def _scientific(value: float) -> Shown:
    mantissa, power = f"{value:.0e}".split("e")
    return Shown(f"{mantissa}·10{str(int(power)).translate(_RAISED)}", value)


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def costs_on_record() -> Picture:
    """Memory of both sides by method, and seconds where they were kept: means over the seeds on record."""
    found = on_record("costs")
    if not found:
        raise ValueError("no costs on record: measure them by `rlhf-mini claims 15`, with TRL installed")
    timed = all("seconds" in one.metrics for one in found)
    columns = {"peak": ("peak beyond imports (MB)", 1.0)}
    if timed:
        columns |= {"seconds": ("a step (ms)", 1000.0), "setup": ("setup (s)", 1.0)}
    rows = []
    there = {one.method for one in found}
    named = [(method, side) for method in NAMES for side in SIDES if f"{method}, {side}" in there]
    for method, side in named:
        name = f"{method}, {side}"
        cells = tuple(
            _mean_cell([factor * float(one.metrics[key]) for one in found if one.method == name])
            for key, (_, factor) in columns.items()
        )
        rows.append((f"{NAMES[method]}, {side}", cells))
    left_out = "" if timed else " The machine was busy with other work, so that no seconds were kept."
    note = (
        f"A Llama of two layers and width 64, on a CPU, each in a process of its own; mean over {len({o.seed for o in found})} seeds "
        f"± 95% interval.{left_out}"
    )
    titles = tuple(title for title, _ in columns.values())
    return records(RecordTable(row_title="method", columns=titles, rows=tuple(rows), note=note, decimals=0))


def _mean_cell(values: Sequence[float]) -> Cell:
    half = student_interval(values).half_width if len(values) > 1 else None
    return Cell(sum(values) / len(values), half, len(values))


def costs_table(costs: Sequence[Mapping[str, float | str]], *, where: str) -> Picture:
    """Seconds and memory of both sides, a row a method and side; rows as `beside_costs.as_numbers` gives them.

    `where` says on what machine and how it was measured; it stands under the table.
    """
    columns = {
        "seconds": ("a step (ms)", 1000.0),
        "setup": ("setup (s)", 1.0),
        "peak": ("peak beyond imports (MB)", 1.0),
    }
    rows = tuple(
        (
            f"{NAMES[str(one['method'])]}, {one['side']}",
            tuple(Cell(factor * float(one[name]), None, 1) for name, (_, factor) in columns.items()),
        )
        for one in costs
    )
    titles = tuple(title for title, _ in columns.values())
    return records(RecordTable(row_title="method", columns=titles, rows=rows, note=where, decimals=1))


# ------------------------------------------------------------------------------------------- memory and money


@in_style
def memory_figure(*, devices: int = 1, hardware: Hardware = H100) -> Picture:
    """Memory of full fine-tuning and of LoRA at each size, its parts stacked; a panel a size, in GiB.

    On each of so many `devices` that share out what is kept (FSDP, ZeRO-3).
    """
    figure, limit, told = new_figure(height=5.6, panels=len(SHAPES)), hardware.memory / GIB, []
    for axes, size in zip(figure.axes, SHAPES, strict=True):
        told.append(f"{size} parameters: {_one_size(axes, size, limit, devices)}")
        axes.annotate(
            hardware.name, (limit, 1), xycoords=("data", "axes fraction"), xytext=(3, -2),
            textcoords="offset points", fontsize=9, color=INK, va="top",
        )  # fmt: skip
    figure.axes[-1].set_xlabel("memory (GiB); each panel has its own scale")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=5, fontsize=9, handletextpad=0.4, columnspacing=1.0
    )
    return picture(
        figure,
        alt=f"Memory of each of {devices} device(s) to fine-tune on 2,048 tokens. {'. '.join(told)}. "
        f"One {hardware.name} has {limit:.0f} GiB.",
    )


def memory_frames(*, devices: Sequence[int] = (1, 2, 4, 8, 16, 64), hardware: Hardware = H100) -> Picture:
    """`memory_figure` for each number of devices; a slider for how many."""
    pictures = [memory_figure(devices=count, hardware=hardware) for count in devices]
    captions = [f"{count} device{'s' if count > 1 else ''}" for count in devices]
    return frames(pictures, captions, label="devices that share weights, gradients and optimizer")


def _one_size(axes: Axes, size: str, limit: float, devices: int) -> str:
    """Both ways at one size, drawn; what is drawn, in words."""
    highest, told = 1.25 * max(limit, *(sum(parts_in_gib(size, way).values()) for way in WAYS)), []
    for row, way in enumerate(WAYS):
        parts = parts_in_gib(size, way, devices=devices)
        told.append(f"{way} {sum(parts.values()):.0f} GiB ({_listed(parts)})")
        _stack(axes, row, parts)
        _told_beside(axes, row, sum(parts.values()), limit, highest)
    axes.axvline(limit, color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
    axes.set_yticks(range(len(WAYS)), WAYS)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(WAYS) - 0.5, -0.85)
    axes.set_xlim(0, highest)
    axes.set_title(f"{size} parameters", fontsize=10.5)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    return "; ".join(told)


def _told_beside(axes: Axes, row: int, total: float, limit: float, highest: float) -> None:
    """The number beside its bar, or beyond the line of the device's memory where that would cross it."""
    place = limit if total <= limit < total + highest / 15 else total
    axes.annotate(
        f"{total:,.0f}", (place, row), xytext=(4, 0), textcoords="offset points", fontsize=9.5, color=INK, va="center",
    )  # fmt: skip


def _stack(axes: Axes, row: int, parts: Mapping[str, float]) -> None:
    left = 0.0
    for name in PARTS:
        axes.barh(
            row, parts[name], left=left, height=0.6, color=role_colour(PART_ROLES[name]), alpha=0.75,
            hatch=HATCHES[name], edgecolor="none", label=name if row == 0 else None,
        )  # fmt: skip
        left += parts[name]


def _listed(parts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in parts.items() if value)


@in_style
def hours_figure(
    *, tokens: float | int = 1e8, length: int = 2048, utilisation: float = 0.4, hardware: Hardware = H100
) -> Picture:
    """Device hours of SFT, DPO and PPO on so many tokens against the number of parameters, both logarithmic.

    `tokens` are those of answers or pairs with their prompts, in sequences of `length`.
    """
    sizes = [shape.parameters / 1e9 for shape in SHAPES.values()]
    figure = new_figure()
    axes = figure.axes[0]
    axes.set_xscale("log")
    axes.set_yscale("log")
    told = []
    for method, role in BILLED.items():
        hours = [
            training_bill(
                shape, method=method, tokens=tokens, length=length, hardware=hardware, devices=1,
                utilisation=utilisation, price=0,
            ).device_hours
            for shape in SHAPES.values()
        ]  # fmt: skip
        axes.plot(sizes, hours, "o", color=role_colour(role), linestyle=DASHES.get(role, "-"), markersize=5)
        put_beside(axes, method, hours[-1], role=role, data=True)
        told.append(f"{method} {', '.join(f'{one:.1f}' for one in hours)}")
    axes.set_xticks(sizes, [*SHAPES])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda hours, _: f"{hours:g}"))
    axes.minorticks_off()
    finish(axes, xlabel="parameters", ylabel=f"device hours for {tokens:,.0f} tokens")
    return picture(
        figure,
        alt=f"Hours of one {hardware.name} for {tokens:,.0f} tokens at {', '.join(SHAPES)} parameters: "
        f"{'; '.join(told)}.",
        caption=f"At {utilisation:.0%} of the peak rate, sequences of {length:,} tokens. What PPO draws is counted "
        "by its operations, which it takes longer than.",
    )
