"""The moving figure of chapter 00: what best of n keeps, on every request and, to read, on one."""

from typing import Any

import torch

from rlhf_mini.chapters.whole_story.experiments import BEST_OF, best_of_n_pool
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import Picture, Sample, beside, new_figure, picture, samples_table
from rlhf_mini.reader.plots import finish, in_style
from rlhf_mini.reader.style import role_colour


def kept_answers(pipeline: Pipeline) -> dict[str, Any]:
    """Which answer of the first n is kept, for every n and every request of the pool.

    Returns lists over n: `n`, `proxy` and `gold` (lists over requests), and the `answer` kept to one
    `prompt`, number `request`: the one on which gold first rises and then falls the most.
    """
    pool = best_of_n_pool(pipeline)
    sizes = [n for n in BEST_OF if n <= pool.golds.shape[1]]
    picks = [pool.proxies[:, :n].argmax(1, keepdim=True) for n in sizes]
    proxies, golds = (
        [values.gather(1, pick).squeeze(1) for pick in picks] for values in (pool.proxies, pool.golds)
    )
    turns = []
    for curve in torch.stack(golds, dim=1).tolist():
        turns.append(min(max(curve) - curve[0], max(curve) - curve[-1]))
    request = max(range(len(turns)), key=turns.__getitem__)
    return {
        "n": sizes,
        "proxy": [row.tolist() for row in proxies],
        "gold": [row.tolist() for row in golds],
        "request": request,
        "prompt": pool.prompts[request],
        "answer": [pool.answers[request][int(pick[request])] for pick in picks],
    }


@in_style
def kept_frame(kept: dict[str, Any], frame: int, *, best_gold: float) -> Picture:
    """One n: every request's kept answer by its proxy and gold reward, and one of them to read."""
    n, proxy, gold, request = (kept["n"][frame], kept["proxy"][frame], kept["gold"][frame], kept["request"])
    mean_proxy, mean_gold = sum(proxy) / len(proxy), sum(gold) / len(gold)
    figure = new_figure(width=4.0, height=3.4)
    axes = figure.axes[0]
    axes.axhline(best_gold, color=role_colour("gold"), linewidth=1.2, linestyle=(0, (1, 1.5)))
    axes.plot(proxy, gold, "o", color=role_colour("policy"), alpha=0.45, markersize=5, markeredgewidth=0)
    axes.plot(mean_proxy, mean_gold, "D", color=role_colour("gold"), markersize=9)
    axes.plot(proxy[request], gold[request], "o", markersize=12, markerfacecolor="none",
              markeredgecolor=role_colour("loss"), markeredgewidth=1.8)  # fmt: skip
    every = {name: [value for row in kept[name] for value in row] for name in ("proxy", "gold")}
    axes.set_xlim(min(every["proxy"]) - 0.2, max(every["proxy"]) + 0.2)
    axes.set_ylim(min(every["gold"]) - 0.4, best_gold + 0.4)
    finish(axes, xlabel="proxy reward of the answer kept", ylabel="its gold reward")
    means = f"proxy {mean_proxy:.2f} and gold {mean_gold:.2f}".replace("-", "−")
    plot = picture(
        figure,
        alt=f"Best of {n}: the means over {len(gold)} requests are {means}; the answer shown has proxy "
        f"{proxy[request]:.2f} and gold {gold[request]:.2f}.",
        caption=f"Diamond: the means, {means}. Ring: the answer shown.",
    )
    sample = Sample(text=kept["answer"][frame], gold=gold[request], proxy=proxy[request])
    return beside(plot, samples_table([(kept["prompt"], {f"best of {n}": sample})]))
