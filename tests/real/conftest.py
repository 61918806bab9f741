"""Saved models for the tests of training, made once; their folders are only read."""

import pytest

from tests.real.small import save


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """``saved("neox")`` is the folder of a small model of that architecture."""
    folders = {}

    def saved(kind):
        if kind not in folders:
            folders[kind] = save(kind, tmp_path_factory.mktemp(kind))
        return folders[kind]

    return saved
