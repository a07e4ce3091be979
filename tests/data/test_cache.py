from __future__ import annotations

import pytest

from tinygrad_effnet.data import MemoryCache


def test_cache_decodes_once_and_reduces(counting):
    dataset = counting()
    cache = MemoryCache(dataset, cache_size=10)
    for _ in range(3):
        for i in range(len(cache)):
            picture, label = cache[i]
            assert picture.shape == (10, round((20 + 10 * i) / 2), 3)
            assert (picture == i).all()
            assert label == i % 2
    assert sorted(dataset.made) == list(range(6))
    assert cache.nbytes == sum(10 * round((20 + 10 * i) / 2) * 3 for i in range(6))
    assert cache[-1][0].shape == cache[5][0].shape
    with pytest.raises(IndexError, match="got 6"):
        cache[6]


def test_cache_keeps_to_its_memory_limit(counting):
    dataset = counting()
    cache = MemoryCache(dataset, max_bytes=20 * 20 * 3)
    for _ in range(2):
        for i in range(len(cache)):
            assert (cache[i][0] == i).all()
    assert cache.nbytes == 20 * 20 * 3
    assert dataset.made.count(0) == 1
    assert dataset.made.count(1) == 2


def test_cached_pictures_cannot_be_spoilt(counting):
    picture, _ = MemoryCache(counting())[0]
    with pytest.raises(ValueError, match="read-only"):
        picture[0] = 1


def test_cache_arguments(counting):
    with pytest.raises(ValueError, match="cache_size: got 0"):
        MemoryCache(counting(), 0)
    with pytest.raises(ValueError, match="max_bytes: got -1"):
        MemoryCache(counting(), max_bytes=-1)
