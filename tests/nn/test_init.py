from __future__ import annotations

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet.nn import init


def tensor(*shape):
    return tg.Tensor(np.zeros(shape, np.float32))


@pytest.fixture(autouse=True)
def seeded():
    tg.manual_seed(11)


@pytest.mark.parametrize(
    ("shape", "groups", "expected"),
    [((10, 4), 1, (4, 10)), ((8, 4, 3, 3), 1, (36, 72)), ((8, 1, 5, 5), 8, (25, 25)), ((8, 2, 3, 3), 2, (18, 36))],
)
def test_fans(shape, groups, expected):
    assert init.fans(tensor(*shape), groups) == expected


def test_fans_need_two_axes():
    with pytest.raises(ValueError, match="no inputs and outputs"):
        init.fans(tensor(3))


@pytest.mark.parametrize(
    ("fill", "std"),
    [
        (lambda w: init.kaiming_normal_(w), (2 / 200) ** 0.5),
        (lambda w: init.kaiming_normal_(w, "fan_out"), (2 / 300) ** 0.5),
        (lambda w: init.kaiming_uniform_(w), (2 / 200) ** 0.5),
        (lambda w: init.xavier_normal_(w), (2 / 500) ** 0.5),
        (lambda w: init.xavier_uniform_(w, gain=2.0), 2 * (2 / 500) ** 0.5),
        (lambda w: init.normal_(w, 1.0, 0.3), 0.3),
        (lambda w: init.uniform_(w, -1, 1), 3**-0.5),
    ],
)
def test_standard_deviations(fill, std):
    w = tensor(300, 200)
    assert fill(w) is w
    assert w.numpy().std() == pytest.approx(std, rel=0.02)


def test_truncated_normal_stays_inside():
    values = init.trunc_normal_(tensor(200, 100), std=2.0, low=-1.0, high=3.0).numpy()
    assert values.min() >= -1
    assert values.max() <= 3
    assert 0.8 < values.std() < 1.2


def test_constants_and_seed():
    assert (init.ones_(tensor(2, 2)).numpy() == 1).all()
    assert not init.zeros_(init.ones_(tensor(2))).numpy().any()
    first = init.normal_(tensor(5)).numpy().copy()
    tg.manual_seed(11)
    np.testing.assert_array_equal(init.normal_(tensor(5)).numpy(), first)


def test_unknown_mode():
    with pytest.raises(ValueError, match="expected 'fan_in' or 'fan_out'"):
        init.kaiming_normal_(tensor(2, 2), "fan_avg")
