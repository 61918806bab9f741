"""The command line: `rlhf-mini run | train | claims | scaling | scoreboard | recipe | doctor | bench`."""

import argparse
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout
from functools import partial
from importlib import metadata
from pathlib import Path

from rlhf_mini import __version__
from rlhf_mini.real.options import add_train

PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "numpy",
    "matplotlib",
    "gymnasium",
    "ipywidgets",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. A user's mistake ends in one line, not in a traceback.

    Started by `torchrun` or `accelerate launch`, the processes share out the work, and the first one talks.
    """
    options = _parser().parse_args(arguments)
    try:
        return _together(options)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"rlhf-mini: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "rlhf-mini: interrupted; finished stages are kept, run the same command to go on", file=sys.stderr
        )
        return 130


def _together(options: argparse.Namespace) -> int:
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return options.command(options)
    from rlhf_mini.split import main_process, process_group

    with ExitStack() as open_contexts:
        open_contexts.enter_context(process_group())
        if not main_process():
            nowhere = open_contexts.enter_context(open(os.devnull, "w"))
            open_contexts.enter_context(redirect_stdout(nowhere))
        return options.command(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rlhf-mini", description="RLHF in Miniature: train, measure, check."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="build the stages of RLHF, each once, up to one of them")
    run.add_argument("--until", default="ppo", metavar="STAGE", help="the last stage to build (default: ppo)")
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--text", type=Path, help="pretrain on this text file instead of the story world")
    run.add_argument("--base-model", metavar="NAME_OR_DIR", help="start from this causal language model")
    run.set_defaults(command=_run)

    add_train(commands).set_defaults(command=_train)

    claims = commands.add_parser(
        "claims", help="measure what a chapter claims; print verdicts, write records"
    )
    claims.add_argument("chapter", help="its number, such as 00")
    claims.add_argument("--seeds", type=int, nargs="+", default=[0])
    claims.add_argument("--only", nargs="+", metavar="NAME", help="only these claims")
    claims.add_argument("--records", help="records file (default: book/results/chapter_NN.json)")
    claims.add_argument(
        "--jobs", type=int, help="seeds measured at once (default: one for each core; on a GPU one)"
    )
    claims.set_defaults(command=_claims)

    scaling = commands.add_parser(
        "scaling", help="measure chapter 11's grid of reward models and policies, each cell once; go on later"
    )
    scaling.add_argument("--seeds", type=int, nargs="+", default=[0])
    scaling.add_argument(
        "--only", nargs="+", default=[], metavar="EXPERIMENT", help="only these tables of it"
    )
    scaling.add_argument("--dry-run", action="store_true", help="list the cells and what they would take")
    scaling.add_argument("--records", default="chapter_11", help="records file (default: book/results/…)")
    scaling.add_argument(
        "--jobs", type=int, help="cells measured at once (default: one for each core; on a GPU one)"
    )
    scaling.set_defaults(command=_scaling)

    scoreboard = commands.add_parser(
        "scoreboard", help="train and judge every method of the book, each once; go on later"
    )
    scoreboard.add_argument("--seeds", type=int, nargs="+", default=[0])
    scoreboard.add_argument("--only", nargs="+", default=[], metavar="TABLE", help="only these tables of it")
    scoreboard.add_argument("--methods", nargs="+", default=[], metavar="NAME", help="only these methods")
    scoreboard.add_argument("--dry-run", action="store_true", help="list the cells and what they would take")
    scoreboard.add_argument("--records", default="chapter_14", help="records file (default: book/results/…)")
    scoreboard.add_argument(
        "--jobs", type=int, help="cells measured at once (default: one for each core; on a GPU one)"
    )
    scoreboard.set_defaults(command=_scoreboard)

    recipe = commands.add_parser(
        "recipe", help="a published recipe: what its report says, and its miniature, trained"
    )
    recipe.add_argument(
        "names", nargs="*", metavar="NAME", help="recipes, or all; without one they are listed"
    )
    recipe.add_argument("--seeds", type=int, nargs="+", default=[0])
    recipe.add_argument("--only", nargs="+", default=[], metavar="TABLE", help="recipes, or variants")
    recipe.add_argument("--tell", action="store_true", help="print what the report says, and train nothing")
    recipe.add_argument("--dry-run", action="store_true", help="list the runs, and which of them are kept")
    recipe.add_argument("--records", default="chapter_13", help="records file (default: book/results/…)")
    recipe.add_argument("--jobs", type=int, help="runs at once (default: one for each core; on a GPU one)")
    recipe.set_defaults(command=_recipe)

    for command in (run, claims, scaling, scoreboard, recipe):
        command.add_argument(
            "--profile", help="quick (two CPU cores) or full (one GPU); default: by the machine"
        )
        command.add_argument(
            "--cache", type=Path, help="where stages are kept (default: RLHF_MINI_CACHE or ~/.cache)"
        )

    commands.add_parser("doctor", help="say what this machine has, and what may go wrong").set_defaults(
        command=_doctor
    )
    bench = commands.add_parser(
        "bench", help="measure speed and memory side by side (needs a clone of the repository)"
    )
    bench.add_argument("--trl", type=Path, help="a folder with trl==1.12.0, to compare PPO with it")
    bench.set_defaults(command=_bench)
    return parser


def _run(options: argparse.Namespace) -> int:
    from rlhf_mini.pipeline import STAGES, Pipeline
    from rlhf_mini.progress import hide_foreign_bars
    from rlhf_mini.text_report import report_on_text

    hide_foreign_bars()
    pipeline = Pipeline(
        options.profile,
        seed=options.seed,
        cache=options.cache,
        text=options.text,
        base_model=options.base_model,
    )
    if options.until not in STAGES:
        raise ValueError(f"unknown stage {options.until!r}: choose one of {', '.join(STAGES)}")
    for stage in pipeline.order(options.until):
        cached = pipeline.is_built(stage)
        folder = pipeline.get(stage)
        how = "from the cache" if cached else f"built in {pipeline.seconds(stage):.1f} s"
        print(f"{stage:15} {how:20} {pipeline.summary(stage):45} {folder}", flush=True)
    if options.text is not None:
        print(report_on_text(pipeline))
    return 0


def _train(options: argparse.Namespace) -> int:
    from rlhf_mini.real.command import run

    return run(options)


def _claims(options: argparse.Namespace) -> int:
    from rlhf_mini.chapters import part
    from rlhf_mini.parallel import side_by_side

    names = [claim.name for claim in part(options.chapter, "claims").CLAIMS]
    if unknown := set(options.only or ()) - set(names):
        raise ValueError(f"unknown claims {sorted(unknown)}: choose from {names}")
    work = partial(_claims_of, options)
    failed = list(side_by_side(work, options.seeds, description="seeds", jobs=options.jobs))
    return 1 if any(failed) else 0


def _claims_of(options: argparse.Namespace, seed: int) -> int:
    """Measure, print and record the claims of one seed; returns how many of them did not hold."""
    from rlhf_mini.chapters import part
    from rlhf_mini.chapters.claims import describe_numbers, measure
    from rlhf_mini.evaluation.records import write_records
    from rlhf_mini.pipeline import Pipeline
    from rlhf_mini.progress import hide_foreign_bars

    hide_foreign_bars()
    pipeline = Pipeline(options.profile, seed=seed, cache=options.cache)
    room, failed = part(options.chapter, "claims"), 0
    records = options.records or f"chapter_{options.chapter}"
    for claim in room.CLAIMS:
        if options.only and claim.name not in options.only:
            continue
        record = measure(claim, pipeline, chapter=options.chapter)
        write_records(records, [record])
        holds = bool(record.metrics["holds"])
        failed += not holds
        heading = f"seed {seed}  {claim.name:24} {'seen' if holds else 'NOT SEEN':9} {record.seconds:6.1f} s"
        lines = [heading, f"        {claim.sentence}", f"        {describe_numbers(record)}", ""]
        print("\n".join(lines), end="", flush=True)  # in one piece: another seed may be printing, too
    if not options.only:
        write_records(records, room.extra_records(pipeline))
    return failed


def _scaling(options: argparse.Namespace) -> int:
    from rlhf_mini.chapters.reward_scaling.command import scaling

    where = {name: getattr(options, name) for name in ("profile", "cache", "records", "jobs")}
    return scaling(options.seeds, options.only, dry_run=options.dry_run, **where)


def _recipe(options: argparse.Namespace) -> int:
    from rlhf_mini.chapters.published.command import recipe

    where = {name: getattr(options, name) for name in ("profile", "cache", "records", "jobs")}
    return recipe(
        options.names, options.seeds, options.only, dry_run=options.dry_run, tell=options.tell, **where
    )


def _scoreboard(options: argparse.Namespace) -> int:
    from rlhf_mini.chapters.scoreboard.command import scoreboard

    where = {name: getattr(options, name) for name in ("profile", "cache", "records", "jobs")}
    return scoreboard(options.seeds, options.only, options.methods, dry_run=options.dry_run, **where)


def _doctor(options: argparse.Namespace) -> int:
    import torch

    from rlhf_mini.cache import cache_folder
    from rlhf_mini.devices import describe, pick_device, thread_count
    from rlhf_mini.profiles import pick_profile

    print(f"rlhf-mini {__version__}, Python {platform.python_version()}, {platform.platform()}")
    for package in PACKAGES:
        try:
            print(f"  {package:13} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            print(f"  {package:13} missing: pip install {package}")
    device = pick_device()
    print(f"device {describe(device)}, {thread_count()} threads of {os.cpu_count()} processors")
    print(f"profile {pick_profile().name}, cache {cache_folder()}")
    folder = cache_folder()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    print(
        f"{free:.1f} GB free for the cache"
        + ("" if free > 1 else ": too little; a full run needs about 1 GB")
    )
    if torch.get_num_threads() > 1 and os.environ.get("OMP_WAIT_POLICY", "").upper() != "PASSIVE":
        print(
            "OMP_WAIT_POLICY is not PASSIVE: "
            "on a machine that does other work, training may run many times slower"
        )
    return 0


def _bench(options: argparse.Namespace) -> int:
    sys.path.insert(0, os.getcwd())  # a console script does not look in the clone that it is called in
    try:
        from benchmarks.bench import run_all
    except ImportError:
        raise ValueError(
            "the benchmarks are not part of the installed package: run `make bench` in a clone"
        ) from None
    return run_all(trl=options.trl)


if __name__ == "__main__":
    sys.exit(main())
