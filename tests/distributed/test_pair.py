"""Two gloo processes give what one gives: every method's curve and weights, and the promises of `split`.

The two are started once for all tests of this file. Loading the library twice takes most of the time, on two
loaded cores half a minute.
"""

import pytest
import torch

from tests.distributed.checks import CHECKS
from tests.distributed.programs import PROGRAMS, outcome
from tests.distributed.started import all_in_a_pair

# In double precision the two differ by the order of their sums. AdamW's steps enlarge that a little.
TOLERANCE = {"rtol": 1e-9, "atol": 1e-10}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What each of the two processes found."""
    folder = tmp_path_factory.mktemp("pair")
    all_in_a_pair(folder)
    return [torch.load(folder / f"{place}.pt", weights_only=True) for place in range(2)]


def of(name: str, pair: list[dict]) -> list[dict]:
    """What the two found of one piece of work."""
    failed = [found for one in pair for found in one.values() if "error" in found]
    for one in pair:
        assert "error" not in one.get(name, {}), one[name]["error"]
        assert name in one, f"not reached, because of:\n{failed[0]['error'] if failed else 'no answer'}"
    return [one[name] for one in pair]


@pytest.mark.parametrize("name", CHECKS)
def test_a_promise_holds_in_each_of_two_processes(name: str, pair: list[dict]) -> None:
    assert [found["rank"] for found in of(name, pair)] == [0, 1]


@pytest.mark.parametrize("name", PROGRAMS)
def test_two_processes_learn_what_one_learns(name: str, pair: list[dict]) -> None:
    expected = outcome(name)
    for place, found in enumerate(of(name, pair)):
        assert (found["world"], found["rank"]) == (2, place)
        assert len(found["log"]) == len(expected["log"]) > 0
        for entry, wanted in zip(found["log"], expected["log"], strict=True):
            assert entry.keys() == wanted.keys()
            for key, value in wanted.items():
                assert entry[key] == pytest.approx(value, rel=1e-9, abs=1e-10), key
        assert found["weights"].keys() == expected["weights"].keys()
        for key, weight in expected["weights"].items():
            torch.testing.assert_close(found["weights"][key], weight, **TOLERANCE)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_processes_end_with_the_same_weights_bit_for_bit(name: str, pair: list[dict]) -> None:
    one, other = of(name, pair)
    assert one["log"] == other["log"]
    assert all(torch.equal(weight, other["weights"][key]) for key, weight in one["weights"].items())
