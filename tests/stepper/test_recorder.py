"""The recorder: what it writes down is what the engine did, and the engine does what it does without."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from programs import pictures, small_network, training_step

import tinygrad_effnet as tg
from tinygrad_effnet import nn, optim
from tinygrad_effnet.op import registry
from tinygrad_effnet.stepper import record
from tinygrad_effnet.testing.samples import samples


@pytest.fixture(scope="module")
def run():
    network = small_network()
    images, labels = pictures()
    with record() as recorded:
        training_step(network, optim.NAdam(network.named_parameters()), images, labels)
    return recorded


def test_recording_changes_no_bit() -> None:
    finals = []
    for recorded in (False, True):
        network, (images, labels) = small_network(), pictures()
        optimizer = optim.NAdam(network.parameters())
        for _ in range(2):
            if recorded:
                with record():
                    training_step(network, optimizer, images, labels)
            else:
                training_step(network, optimizer, images, labels)
        finals.append([p.array.tobytes() for p in (*network.parameters(), *network.buffers())])
    assert finals[0] == finals[1]


def test_inputs_have_the_names_that_the_formula_gives_them(run) -> None:
    names = {(s.op, s.phase): [o.name for o in (s.inputs if s.phase == "forward" else s.outputs)] for s in run}
    assert names["conv2d", "forward"] == ["x", "w"] and names["batch_norm", "forward"] == ["x", "γ", "β"]
    assert names["linear", "backward"] == ["x\u0304", "w\u0304", "b\u0304"]
    assert names["batch_norm", "backward"] == ["x\u0304", "γ\u0304", "β\u0304"]


@pytest.mark.parametrize("backend", tg.available_backends())
def test_replay_gives_the_same_bits(backend) -> None:
    with tg.use_backend(backend):
        network, (images, labels) = small_network(), pictures(size=4)
        with record(whole=None, check_rules=False) as run:
            for optimizer in (optim.NAdam(network.parameters()), optim.SGD(network.parameters(), momentum=0.9)):
                training_step(network, optimizer, images, labels)
        again = run.replay()
    assert again.different == [] and again.skipped == []
    assert again.same == sum(step.op != "leaf" for step in run)


def test_replay_notices_another_number() -> None:
    with record() as own:
        tg.exp(tg.Tensor([0.5, 1.5]))
    own[0].outputs[0].value.kept[1] = np.nextafter(own[0].outputs[0].value.kept[1], np.float32(9))
    assert own.replay().different == [0]


def test_three_phases_in_order(run) -> None:
    phases = [step.phase for step in run]
    assert sorted(phases, key=("forward", "backward", "update").index) == phases
    assert [step.index for step in run] == list(range(len(run)))
    back = [step for step in run if step.phase == "backward" and step.op != "leaf"]
    assert [step.forward for step in back] == sorted((step.forward for step in back), reverse=True)  # the tape's order
    assert all(run[step.forward].op == step.op and run[step.forward].module == step.module for step in back)


def test_gradients_are_those_of_the_engine() -> None:
    network, (images, labels) = small_network(), pictures()
    with record() as run:
        tg.cross_entropy(network(images), labels).backward()
    leaves = {step.outputs[0].label: step.outputs[0].value for step in run if step.op == "leaf"}
    assert set(leaves) == {name for name, _ in network.named_parameters()}
    for name, parameter in network.named_parameters():
        assert leaves[name].kept.tobytes() == np.array(parameter.grad.array).tobytes()


def test_every_gradient_is_the_sum_of_its_arrivals(run) -> None:
    several = 0
    for step in run:
        for operand, arrivals in zip(step.inputs, step.arrivals, strict=False):
            total = arrivals[0].value.kept
            for arrival in arrivals[1:]:
                total = total + arrival.value.kept
            several += len(arrivals) > 1
            assert np.array_equal(total, operand.value.kept)
    assert several >= 2  # the skip connection, and x · gate


def test_accumulation_on_a_leaf_shows_each_part_in_order() -> None:
    w = tg.Tensor([2.0, -1.0], requires_grad=True)
    with record() as run:
        (w * w + tg.exp(w) * 3.0).backward(np.array([0.7, -0.4]))
    leaf = run[-1]
    assert leaf.op == "leaf" and leaf.inputs[0].label == "w"
    assert [run[a.step].op for a in leaf.arrivals[0]] == ["exp", "mul", "mul"]
    assert np.array_equal(leaf.inputs[0].value.kept, w.grad.array)


def test_lines_modules_and_names(run) -> None:
    first = run[0]
    assert first.op == "conv2d" and first.module == "0"
    assert first.line.file.endswith("programs.py") and first.layer.file.endswith("layers.py")
    assert [operand.label for operand in first.inputs] == ["images", "0.weight"]
    modules = {step.module for step in run}
    assert {"3.squeeze_excite", "3.squeeze_excite.reduce", "3.depthwise.norm", "3.drop_path", "7"} <= modules
    assert run[-1].outputs[0].label == "7.bias"


def test_rules_agree_with_differences(run) -> None:
    found = [d for step in run for d in step.differences]
    assert len(found) > 40
    for d in found:
        assert d.rule == pytest.approx(d.difference, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", sorted(registry))
def test_every_operation_can_be_recorded(name) -> None:
    rng = np.random.default_rng(11)
    for sample in samples(name, rng)[:3]:
        inputs = [tg.Tensor(a, requires_grad=a.dtype.kind == "f") for a in sample.arrays]
        with record(whole=None) as run:
            results = sample(*inputs)
            for y in results if isinstance(results, tuple) else (results,):
                if y.requires_grad:
                    y.backward(rng.normal(size=y.shape), retain_graph=True)
        again = run.replay()
        assert not again.different and not again.skipped
        assert all(run.explain(step.index) for step in run)
        for step in run:
            for d in step.differences:
                assert d.rule == pytest.approx(d.difference, rel=1e-4, abs=1e-6), sample.label


def test_time_and_memory(run) -> None:
    assert all(step.seconds > 0 for step in run if step.op != "leaf")
    assert all(step.peak >= step.live >= 0 for step in run)
    conv = run[0]
    assert conv.saved == [("input x", conv.inputs[0].value.nbytes), ("input weight", conv.inputs[1].value.nbytes)]
    assert conv.flops == 2 * 2 * 4 * 8 * 8 * 27


@pytest.mark.filterwarnings("ignore:invalid value")
def test_breakpoints() -> None:
    x = tg.Tensor([-1.0, 4.0], requires_grad=True)
    with record() as run:
        z = tg.log(tg.relu(x) - 1.0)  # of a negative number
        z.backward([1.0, 0.5])
    assert run[run.until(nan=True)].op == "log"
    assert run.until("log", phase="backward") == 3
    assert run[run.until("relu", start=1)].phase == "backward"
    with record() as dead:
        tg.relu(tg.Tensor([-1.0, -4.0], requires_grad=True)).backward([0.3, 0.7])
    assert dead.until(zero_gradient=True) == 1
    assert dead.until(nan=True) is None
    for wrong, message in (
        ({}, "say what to stop"),
        ({"op": "conv3d"}, "there are leaf, relu"),
        ({"phase": "x"}, "choose"),
    ):
        with pytest.raises(ValueError, match=message):
            dead.until(**wrong)
    with pytest.raises(IndexError, match="steps 0 to 2"):
        dead.explain(3)


def test_a_second_network_has_its_own_names() -> None:
    first, second = nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 1))
    with record() as run:
        second(first(tg.Tensor([[1.0, 2.0]])))
    assert [step.module for step in run if step.op == "linear"] == ["Linear", "Sequential.0"]


def test_other_threads_compute_but_are_not_recorded() -> None:
    shapes = []

    def elsewhere():
        layer = nn.Linear(2, 2)
        y = layer(tg.Tensor([[1.0, -2.0]]))
        y.backward([[0.3, 0.6]])
        optim.SGD(layer.parameters(), lr=0.1).step()
        shapes.append(layer.weight.grad.shape)

    with record() as run:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert shapes == [(2, 2)] and len(run) == 0


def test_large_arrays_die_as_they_would_unrecorded() -> None:
    x = tg.Tensor(np.random.default_rng(2).normal(size=(64, 128)).astype("f"), requires_grad=True)
    with record() as run:
        (tg.exp(x * 2.0) + 1.0).sum().backward()
    size = x.array.nbytes
    assert run[0].live == size and max(step.peak for step in run) < 4 * size and run[-1].live < 3 * size
    assert max(operand.value.kept.size for step in run for operand in step.outputs) <= 1024


def test_second_derivatives_are_recorded_too() -> None:
    x = tg.Tensor([0.3, 0.9], requires_grad=True)
    with record() as run:
        (dx,) = tg.grad(tg.sin(x), x, tg.Tensor([0.5, -0.25]), create_graph=True)
        dx.backward([1.0, 2.0])
    assert x.grad.tolist() == pytest.approx([-0.5 * np.sin(0.3), 0.5 * np.sin(0.9)])
    assert {"sin", "cos", "mul"} <= {step.op for step in run if step.phase == "backward"}


def test_an_error_in_the_block_leaves_the_steps_up_to_there() -> None:
    with pytest.raises(ValueError), record() as run:
        a = tg.Tensor([1.0, 2.0]) * 2.0
        a + tg.Tensor([1.0, 2.0, 3.0])
    assert [step.op for step in run] == ["mul"]
