"""Walking over arrays piece by piece."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_effnet.optim.arrays import BLOCK, blocks


@given(st.lists(st.integers(0, 40), min_size=1, max_size=3), st.booleans())
@settings(deadline=None)
def test_blocks_cover_every_entry_once(shape, transposed):
    array = np.zeros(shape)
    array = array.T if transposed else array
    for piece, same in blocks(array, array):
        piece += 1
        assert same is piece or np.shares_memory(same, piece) or not piece.size
    assert (array == 1).all()


def test_pieces_are_small_and_in_order():
    array = np.arange(2.0 * BLOCK + 3).reshape(1, -1)
    pieces = [piece for (piece,) in blocks(array)]
    assert [piece.size for piece in pieces] == [BLOCK, BLOCK, 3]
    np.testing.assert_array_equal(np.concatenate(pieces), array[0])
