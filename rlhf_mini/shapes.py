"""The words that signatures use for shapes: ``Float[Tensor, "B T"]``.

jaxtyping supplies them and the tests check them. It is needed for tests and for the book only, so where it is
missing the same words stand for a plain tensor.

The axes: ``B`` batch, ``T`` tokens, ``V`` vocabulary, ``D`` width, ``G`` samples per prompt, ``K``
ranked answers per prompt.
"""

from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
else:
    try:
        from jaxtyping import Bool, Float, Int
    except ImportError:

        class Float:
            """In place of jaxtyping's type of this name: ``Float[Tensor, "B T"]`` is then just ``Tensor``."""

            def __class_getitem__(cls, array_and_shape: tuple[Any, str]) -> Any:
                """Forget the shape."""
                return array_and_shape[0]

        class Int(Float):
            """As ``Float``, for integers."""

        class Bool(Float):
            """As ``Float``, for true and false."""


__all__ = ["Bool", "Float", "Int", "Tensor"]
