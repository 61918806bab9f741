"""Skip the padding: a batch of texts of mixed lengths as one list of its real tokens.

Most of a transformer treats each token by itself, and there only the N real tokens need computing.
Attention alone needs the grid (B, T).
"""

from torch import Tensor


class Packing:
    """Moves between the grid of a right-padded batch and the list of its real tokens.

    >>> import torch
    >>> packing = Packing(torch.tensor([[True, True], [True, False]]))
    >>> packing.pack(torch.tensor([[5, 6], [7, 0]]))
    tensor([5, 6, 7])
    >>> packing.unpack(torch.tensor([5, 6, 7]))
    tensor([[5, 6],
            [7, 0]])
    """

    def __init__(self, mask: Tensor):
        self.grid = mask.shape
        self.full = bool(mask.all())
        self.places = mask.flatten().nonzero().squeeze(-1)  # (N,), each real token's place in the flat grid

    def pack(self, grid: Tensor) -> Tensor:
        """(B, T, …) -> (N, …), the real tokens in reading order."""
        flat = grid.flatten(0, 1)
        return flat if self.full else flat.index_select(0, self.places)

    def unpack(self, packed: Tensor) -> Tensor:
        """(N, …) -> (B, T, …), with zeros for padding."""
        if not self.full:
            empty = packed.new_zeros(self.grid.numel(), *packed.shape[1:])
            packed = empty.index_copy(0, self.places, packed)
        return packed.unflatten(0, self.grid)
