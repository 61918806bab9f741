import pytest
import torch

from tests.models.tiny import PAD, llama, other


@pytest.fixture(params=["llama", "grouped", "neox", "qwen2"])
def model(request):
    return llama() if request.param == "llama" else other(request.param)


@pytest.fixture
def batch():
    """Four right-padded rows of lengths 9, 5, 12 and 2; the last three tokens at most are the response."""
    torch.manual_seed(1)
    lengths = torch.tensor([9, 5, 12, 2])
    column = torch.arange(12)
    mask = column < lengths[:, None]
    response = mask & (column >= lengths[:, None] - 3)
    tokens = torch.randint(3, 48, mask.shape).masked_fill(~mask, PAD)
    return tokens, mask, response
