import os
import sys

import torch

from rlhf_mini.models.memory import keep_freed_memory
from rlhf_mini.models.packing import Packing


def test_packing_there_and_back_with_gradients():
    mask = torch.tensor([[True, True, True], [True, False, False]])
    packing = Packing(mask)
    grid = torch.arange(12.0).view(2, 3, 2).requires_grad_()
    packed = packing.pack(grid)
    assert packed.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    back = packing.unpack(packed)
    assert torch.equal(back, grid * mask[..., None])
    (back * torch.tensor([1.0, 10.0])).sum().backward()
    assert torch.equal(grid.grad, mask[..., None] * torch.tensor([1.0, 10.0]))


def test_the_users_own_settings_of_the_allocator_win(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000")
    assert keep_freed_memory() is False


def test_memory_is_kept_where_the_c_library_is_glibc(monkeypatch):
    for name in [name for name in os.environ if name.startswith("MALLOC_")]:
        monkeypatch.delenv(name)
    assert keep_freed_memory() is _has_glibc()


def _has_glibc():
    return sys.platform.startswith("linux") and "glibc" in os.confstr("CS_GNU_LIBC_VERSION")
