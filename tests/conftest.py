"""Fixtures for all tests."""

from collections.abc import Iterator

import jaxtyping
import pytest


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Runs a test as users run the library: without the shape checks that the tests add to every signature.

    With them, a wrong shape stops at the signature, and the message that users see is never reached.
    """
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)
