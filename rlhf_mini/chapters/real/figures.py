"""The chapter's figures: our curves under TRL's marks, what both cost, memory by its parts, cost by size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rlhf_mini.chapters.real.sizes import PARTS, SHAPES, WAYS, parts_in_gib, training_bill
from rlhf_mini.evaluation.record_tables import Cell, RecordTable
from rlhf_mini.evaluation.training_cost import GIB, H100, Hardware
from rlhf_mini.reader import Picture, beside, new_figure, picture, records
from rlhf_mini.reader.plots import DASHES, finish, finite_array, in_style, put_beside
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


def memory_figure(*, hardware: Hardware = H100) -> Picture:
    """Memory of full fine-tuning and of LoRA at each size, its parts stacked; a panel a size, in GiB."""
    return beside(*(_one_size(size, hardware) for size in SHAPES))


@in_style
def _one_size(size: str, hardware: Hardware) -> Picture:
    figure = new_figure(height=2.7)
    axes = figure.axes[0]
    limit, told = hardware.memory / GIB, []
    for row, way in enumerate(WAYS):
        parts = parts_in_gib(size, way)
        told.append(f"{way} {sum(parts.values()):.0f} GiB ({_listed(parts)})")
        _stack(axes, row, parts)
    axes.axvline(limit, color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
    axes.annotate(
        hardware.name, (limit, 1), xycoords=("data", "axes fraction"), xytext=(3, -2),
        textcoords="offset points", fontsize=9, color=INK, va="top",
    )  # fmt: skip
    axes.set_yticks(range(len(WAYS)), WAYS)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(WAYS) - 0.5, -0.5)
    axes.set_xlim(0, 1.25 * max(limit, *(sum(parts_in_gib(size, way).values()) for way in WAYS)))
    axes.set_xlabel("memory (GiB)")
    axes.set_title(f"{size} parameters", fontsize=10.5)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    figure.legend(loc="outside lower center", ncols=3, fontsize=8.5, handletextpad=0.4, columnspacing=1.0)
    return picture(
        figure,
        alt=f"Memory to fine-tune {size} parameters on 2,048 tokens: {'; '.join(told)}. "
        f"One {hardware.name} has {limit:.0f} GiB.",
    )


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
