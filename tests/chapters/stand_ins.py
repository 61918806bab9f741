"""What several rooms' tests put in the place of data, of trained runs and of the records."""

from types import SimpleNamespace

import torch

from rlhf_mini.chapters import band


def numbers(*shape, seed=0):
    """Standard normal numbers, the same for the same seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def put_runs(monkeypatch, ladder, told, seeds, *, chapter, experiment):
    """Numbers in the place of a ladder's runs, name → numbers, and of its records, one mapping a seed."""

    def read_records(name, **which):
        where = (f"chapter_{chapter}", experiment, ladder.family.OURS)
        assert (name, which["experiment"], which["method"]) == where
        return [SimpleNamespace(metrics=metrics) for metrics in seeds]

    monkeypatch.setattr(
        ladder.family, "run", lambda name: SimpleNamespace(measured=lambda pipeline: told[name])
    )
    monkeypatch.setattr(band, "read_records", read_records)
