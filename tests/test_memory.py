"""Memory: what is reported equals what is counted by hand."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet import memory, nn

RNG = np.random.default_rng(3)


def randn(*shape: int, grad: bool = False) -> tg.Tensor:
    return tg.Tensor(RNG.normal(size=shape).astype(np.float32), requires_grad=grad)


def test_a_report_counts_what_was_saved_once_and_leaves_parameters_out():
    x, w = randn(6, 5), randn(5, 4, grad=True)
    y = tg.matmul(x, w)  # saves x and w: x is kept alive by the tape, w is the user's own
    z = tg.silu(y)  # saves y
    loss = (z * y).sum()  # saves z and y, and y is there already
    report = memory.report(loss)
    assert {row.name: row.bytes for row in report.by_op} == {
        "matmul": 4 * 6 * 5,
        "silu": 4 * 6 * 4,
        "mul": 4 * 6 * 4,
        "sum": 0,
    }
    assert report.bytes == 4 * (6 * 5 + 6 * 4 + 6 * 4)
    assert report.nodes == 4
    assert [row.bytes for row in report.by_op] == sorted([row.bytes for row in report.by_op], reverse=True)


def test_views_are_counted_with_the_memory_that_they_keep_alive():
    x = randn(8, 8, grad=True)
    y = x * 2.0
    report = memory.report((y.reshape(64)[:10].sigmoid() * y.reshape(64)[10:20]).sum())
    by_op = {row.name: row.bytes for row in report.by_op}
    assert by_op["sigmoid"] == 4 * 10
    assert by_op["mul"] == 4 + 4 * 64  # the number 2; and y, all of it, behind the ten entries that the product saved


def test_what_a_node_keeps_besides_what_it_saved_is_counted():
    x, norm = randn(4, 3, 5, 5, grad=True), nn.BatchNorm2d(3)
    (row,) = memory.report(norm(x).sum() * 1.0).by_op[:1]
    assert row == memory.Row("batch_norm", 1, 2 * 3 * 4)  # mean and variance; x is a leaf and gamma is a parameter


def test_after_the_backward_pass_nothing_is_held():
    loss = (randn(7, 7, grad=True).exp() ** 2.0).mean()
    assert memory.report(loss).bytes >= 4 * 49
    loss.backward()
    assert memory.report(loss).bytes == 0


def test_a_tape_of_several_results_is_counted_once():
    x = randn(9, grad=True)
    y = x.exp()
    assert memory.report([y.sum(), (y * 3.0).sum()]).bytes == 4 * 9 + 4
    assert memory.report(randn(3)).nodes == 0


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.Sequential(nn.SiLU(), nn.Conv2d(4, 2, 1, bias=False)))


def test_operations_are_counted_for_the_module_whose_parameters_came_last():
    model, x = net(), randn(2, 3, 5, 5)
    report = memory.report(model(x).sum(), model)
    assert {row.name: row.bytes for row in report.by_module} == {
        "0": 4 * (2 * 3 * 25 + 2 * 4 * 25),  # the images, and the activation between the two convolutions
        "1.1": 4 * 2 * 4 * 25,
    }
    assert [row.name for row in memory.report(model(x).sum(), model, depth=1).by_module] == ["0", "1"]
    assert sum(row.bytes for row in report.by_module) == report.bytes


def test_a_report_reads_as_a_table():
    text = str(memory.report(net()(randn(2, 3, 50, 50)).sum()))
    assert text.splitlines()[0] == "the tape holds 220 kB in 4 operations"
    assert text.splitlines()[3].split() == ["conv2d", "2", "140", "kB", "63.6%"]


def test_tracking_counts_results_alive_and_their_peak():
    x = randn(100)
    with memory.track() as usage:
        a = x + 1.0
        assert usage.allocated == 400
        b = a.exp() * a  # the exponential lives until the product is there
        assert (usage.allocated, usage.max_allocated) == (800, 1200)
        assert usage.at_peak == {"add": 400, "exp": 400, "mul": 400}
        c = b.reshape(10, 10)  # a view
        assert usage.allocated == 800
        del b
        assert usage.allocated == 800
        del c
        assert usage.allocated == 400
        usage.reset_peak()
        assert usage.max_allocated == 400
    before = usage.max_allocated
    x.exp()
    assert usage.max_allocated == before  # outside the block nothing is counted


def test_tracking_sees_the_backward_pass_and_ends_at_nothing():
    gc.disable()
    try:
        model = net()
        with memory.track() as usage:
            loss = model(randn(2, 3, 8, 8)).sum()
            assert usage.allocated == memory.report(loss).bytes - 4 * 2 * 3 * 64 + 4  # images came before, loss is new
            loss.backward()
            assert usage.allocated == 4
        assert "conv2d_input_grad" in usage.at_peak
    finally:
        gc.enable()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_the_peak_of_the_process_sees_a_large_array_and_can_be_reset():
    before = memory.peak()
    array = np.ones(30 * 2**20, np.uint8)
    assert memory.resident() > 30 * 2**20
    assert memory.peak() >= before
    high = memory.peak()
    del array
    try:
        memory.reset_peak()
    except NotImplementedError as error:
        assert "clear_refs" in str(error)
    else:
        assert memory.peak() <= high
        grown = np.ones(64 * 2**20, np.uint8)
        assert memory.peak() >= memory.resident() - 2**20 >= grown.nbytes


def test_systems_that_do_not_tell_say_so(monkeypatch):
    monkeypatch.setattr(memory, "Path", lambda name: _Nowhere())
    with pytest.raises(NotImplementedError, match=r"resident\(\)"):
        memory.resident()
    with pytest.raises(NotImplementedError, match=r"reset_peak\(\)"):
        memory.reset_peak()


class _Nowhere:
    def read_text(self) -> str:
        raise FileNotFoundError("no such file")

    def write_text(self, text: str) -> None:
        raise FileNotFoundError("no such file")


def test_tracking_sees_what_a_fused_operation_computes_in_its_rule():
    block, x = nn.ConvNormAct(3, 5, 1, act=nn.SiLU(), fused=True), randn(2, 3, 6, 6)
    with memory.track() as usage:
        loss = (block(x) * randn(2, 5, 6, 6)).sum()
        loss.backward()
        assert usage.allocated == 4
    assert usage.at_peak["norm_silu backward"] >= 4 * 2 * 5 * 36
