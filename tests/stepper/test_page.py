"""What stands in the page's file: its policy, its escaping, its size, its formulas and its graph."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from programs import pictures, small_network, training_step

import tinygrad_effnet as tg
from tinygrad_effnet import optim
from tinygrad_effnet.op import registry
from tinygrad_effnet.stepper import record
from tinygrad_effnet.stepper.explain import update_formula
from tinygrad_effnet.stepper.layout import levels
from tinygrad_effnet.stepper.mathml import statements
from tinygrad_effnet.stepper.page import in_script


@pytest.fixture(scope="module")
def run():
    network, (images, labels) = small_network(), pictures()
    with record() as recorded:
        training_step(network, optim.NAdam(network.named_parameters()), images, labels)
    return recorded


def data_of(path):
    return json.loads(re.search(r'id="data">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL).group(1))


def test_one_file_that_asks_for_nothing(run, tmp_path) -> None:
    path = run.page(tmp_path / "page.html", "Title & <b>")
    text = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 1_000_000
    assert "default-src 'none'" in text and "unsafe" not in text
    assert "<title>Title &amp; &lt;b&gt;</title>" in text
    assert not re.search(r'(?:src|href)="(?!data:,)', text) and "://" not in text.replace(
        "http://www.w3.org/2000/svg", ""
    )


def test_steps_of_the_page_are_those_of_the_run(run, tmp_path) -> None:
    data = data_of(run.page(tmp_path / "page.html"))
    assert [step["op"] for step in data["steps"]] == [step.op for step in run]
    assert [step["m"] for step in data["steps"]] == [step.module for step in run]


def test_no_text_ends_the_script() -> None:
    text = in_script({"a": "</script><!-- & \u2028", "b": [float("nan"), float("inf"), np.float64(0.1).item()]})
    assert "<" not in text and "&" not in text and "\u2028" not in text
    assert json.loads(text) == {"a": "</script><!-- & \u2028", "b": [None, "∞", 0.1]}


def test_a_page_keeps_to_its_size_or_says_why_not(run, tmp_path) -> None:
    small = run.page(tmp_path / "small.html", most_bytes=260_000)
    assert small.stat().st_size <= 260_000
    with pytest.raises(ValueError, match="allow more than 1,000"):
        run.page(tmp_path / "none.html", most_bytes=1000)
    with record() as nothing:
        pass
    with pytest.raises(ValueError, match="nothing was recorded"):
        nothing.page(tmp_path / "none.html")
    assert not (tmp_path / "none.html").exists()


@pytest.mark.parametrize("name", sorted(registry))
def test_formulas_become_sound_mathml_with_every_letter(name) -> None:
    op = registry[name]
    for formula in (op.formula, op.rule):
        made = statements(formula)
        assert made
        for math in made:
            ElementTree.fromstring(math.replace("&nbsp;", " "))  # well-formed
        shown = set("".join("".join(ElementTree.fromstring(math).itertext()) for math in made))
        assert {c for c in formula if c.isascii() and c.isalpha()} <= shown


def test_updates_have_formulas() -> None:
    for optimizer in (optim.NAdam, optim.Adam, optim.AdamW, optim.SGD):
        assert "θ_t = " in update_formula(optimizer.__doc__)
        for math in statements(update_formula(optimizer.__doc__)):
            ElementTree.fromstring(math)


def test_mathml_of_scripts_accents_and_roots() -> None:
    (math,) = statements("x̂ = (x − μ) / √(v + ε)")
    assert "<mover" in math and "<msqrt><mrow><mi>v</mi><mo>+</mo>" in math
    (math,) = statements("y[n,c] = Σ_p,q w^(−x²)")
    assert "<msub><mi>y</mi>" in math and "<munder><mo>Σ</mo>" in math and "<msup><mi>w</mi>" in math
    (math,) = statements("x̄ = conv2d_input_grad(ȳ, w)")
    assert "<mi>conv2d_input_grad</mi>" in math


def test_the_graph_is_folded_by_module_and_flows_down(run) -> None:
    found = levels(run.steps)
    assert {"", "3", "3.squeeze_excite"} <= set(found)
    outside = [box["t"] for box in found[""]["boxes"]]
    assert outside[:4] == ["0", "1", "2", "3"]
    gate = found["3.squeeze_excite"]
    assert [box["t"] for box in gate["boxes"]] == ["mean", "reduce", "act", "expand", "sigmoid", "mul"]
    for level in found.values():
        for a, b in level["edges"]:
            assert level["boxes"][a]["y"] < level["boxes"][b]["y"]
        places = [(box["x"], box["y"]) for box in level["boxes"]]
        assert len(set(places)) == len(places)
        assert all(0 <= x and x + 132 <= level["w"] and y + 34 <= level["h"] for x, y in places)


def test_numbers_that_are_not_finite_get_to_the_page(tmp_path) -> None:
    x = tg.Tensor([0.0, 1.0], requires_grad=True)
    with np.errstate(all="ignore"), record() as run:
        tg.log(x).backward([1.0, 0.5])
    assert [step.get("nan") for step in data_of(run.page(tmp_path / "nan.html"))["steps"]] == [True, True, True]
