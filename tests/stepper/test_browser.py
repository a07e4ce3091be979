"""The page in a real browser, Chromium without a window: it loads, steps, finds, and shows the engine's numbers."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from programs import pictures, small_network, training_step

import tinygrad_effnet as tg
from tinygrad_effnet import nn, optim
from tinygrad_effnet.stepper import record

browsers = pytest.importorskip("playwright.sync_api", reason="the page's tests drive a browser: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="the page's tests need Chromium: apt-get install chromium")
STEP_SECONDS = 0.05


@pytest.fixture(scope="module")
def browser():
    with browsers.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    network, (images, labels) = small_network(), pictures()
    with record() as run:
        training_step(network, optim.NAdam(network.named_parameters()), images, labels)
    return run, run.page(tmp_path_factory.mktemp("page") / "page.html")


@pytest.fixture
def visit(browser):
    """Open a file; at the end, fail on any message in the console, any error, any request but for the file itself."""
    contexts, messages, requests = [], [], []

    def open_page(path, link="", **settings):
        contexts.append(browser.new_context(**settings))
        page = contexts[-1].new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri() + link)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert messages == []
    assert [url for url in requests if not url.startswith("file:") and url != "data:,"] == []
    assert len([url for url in requests if url.startswith("file:")]) == len(contexts)


def step_of(page):
    return page.evaluate("current")


def wait_for_step(page, index):
    """Not by `wait_for_function`, whose later looks are evaluated in the page, which its policy forbids."""
    page.locator("#where", has_text=f"step {index} ").wait_for()


def test_to_the_end_and_back(recorded, visit) -> None:
    run, path = recorded
    page = visit(path)
    shown = page.evaluate(
        """() => {
            const titles = [], read = () => document.querySelector('#step h2').textContent;
            for (let k = 0; k < STEPS.length; k++) { titles.push(read()); document.getElementById('next').click(); }
            const back = [];
            for (let k = 0; k < STEPS.length; k++) { back.unshift(read()); document.getElementById('back').click(); }
            return [titles, back, current];
        }"""
    )
    assert shown[0] == shown[1] and shown[2] == 0 and len(shown[0]) == len(run)
    for title, step in zip(shown[0], run, strict=True):
        assert title.startswith("a gradient comes" if step.op == "leaf" else step.op)


def test_numbers_are_the_engine_s(recorded, visit) -> None:
    run, path = recorded
    page = visit(path)
    kept = page.evaluate("STEPS.map((s) => [...s.in, ...s.out].map((o) => [value(o[1]).whole, [...value(o[1]).kept]]))")
    for step, values in zip(run, kept, strict=True):
        for operand, (whole, numbers) in zip((*step.inputs, *step.outputs), values, strict=True):
            assert whole == operand.value.is_whole
            assert np.array_equal(np.array(numbers), operand.value.kept.astype(np.float64).ravel())


def test_products_worked_out_in_the_page_add_up_to_the_engine_s_numbers(recorded, visit) -> None:
    run, path = recorded
    page = visit(path)
    found = page.evaluate(
        """STEPS.flatMap((step, k) => step.p > 1 ? [] : step.out.flatMap((out, i) => {
            const shown = value(out[1]), places = [...shown.kept.keys()].filter((place) => place % 7 === 0);
            return places.flatMap((place) => {
                const terms = termsAt(step, out, shown.index(place));
                return terms ? [[k, i, place, terms.sum]] : [];
            });
        }))"""
    )
    assert len({run[k].op for k, *_ in found}) == 3 and len(found) > 200  # conv2d, depthwise_conv2d, linear
    assert {run[k].phase for k, *_ in found} == {"forward", "backward"}
    for k, i, place, total in found:
        assert total == pytest.approx(run[k].outputs[i].value.kept.ravel()[place].item(), rel=1e-4, abs=1e-6)


def test_what_is_written_is_what_came_out(recorded, visit) -> None:
    run, path = recorded
    k = run.until("conv2d")
    page = visit(path, f"#t={k}")
    terms = run[k].worked[0]
    written = page.inner_text("#result")
    assert written.startswith(f"y[{', '.join(map(str, terms.index))}] = ")
    assert np.float32(written.split(" = ")[1]) == np.float32(terms.value)


def test_keys(recorded, visit) -> None:
    run, path = recorded
    page = visit(path)
    page.keyboard.press("End")
    assert step_of(page) == len(run) - 1
    for key, expected in (("ArrowLeft", len(run) - 2), ("Home", 0), ("ArrowRight", 1), ("ArrowLeft", 0)):
        page.keyboard.press(key)
        assert step_of(page) == expected
    page.select_option("#breakpoint", "op silu")
    page.evaluate("document.activeElement.blur()")
    for expected in [step.index for step in run if step.op == "silu"][:2]:
        page.keyboard.press("b")
        assert step_of(page) == expected
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"


def test_link_and_history(recorded, visit) -> None:
    run, path = recorded
    page = visit(path, "#t=37")
    assert step_of(page) == 37 and "step 37" in page.inner_text("#where")
    page.keyboard.press("ArrowRight")
    assert page.url.endswith("#t=38")
    page.evaluate("location.hash = '#t=5'")
    wait_for_step(page, 5)
    page.evaluate("location.hash = '#t=99999'")
    wait_for_step(page, len(run) - 1)


def test_search_by_operation_and_module(recorded, visit) -> None:
    run, path = recorded
    page = visit(path)
    page.fill("#search", "squeeze_excite conv2d backward")
    expected = [s.index for s in run if s.op == "conv2d" and "squeeze_excite" in s.module and s.phase == "backward"]
    buttons = page.locator("#found button")
    assert buttons.count() == len(expected) == 2
    buttons.nth(1).click()
    assert step_of(page) == expected[1]
    page.fill("#search", "nothing of the kind")
    assert page.inner_text("#found") == "none found"


def test_breakpoints_on_nan_and_on_zero_gradient(visit, tmp_path) -> None:
    x = tg.Tensor([-1.0, -2.0], requires_grad=True)
    with np.errstate(all="ignore"), record() as run:
        (tg.relu(x) + tg.log(x).sum()).backward([0.5, 0.25])
    page = visit(run.page(tmp_path / "page.html"))
    for kind, expected in (("nan", run.until(nan=True, start=1)), ("zero", run.until(zero_gradient=True, start=1))):
        page.keyboard.press("Home")
        page.select_option("#breakpoint", kind)
        page.click("#break")
        assert step_of(page) == expected


def test_finite_differences_beside_the_rule(recorded, visit) -> None:
    run, path = recorded
    k = run.until("conv2d", phase="backward")
    page = visit(path, f"#t={k}")
    assert page.locator("#differences tbody tr").count() == 0
    page.click("#check")
    row = page.locator("#differences tbody tr").first.locator("td").all_inner_texts()
    assert float(row[1]) == pytest.approx(run[k].differences[0].rule)
    assert float(row[2]) == pytest.approx(run[k].differences[0].difference)


def test_an_entry_is_chosen_by_keyboard_and_its_field_outlined(recorded, visit) -> None:
    _, path = recorded
    page = visit(path)
    page.focus("canvas[data-side=out]")
    before = page.inner_text("#result")
    page.keyboard.press("ArrowLeft")
    assert step_of(page) == 0 and page.inner_text("#result") != before
    marked = page.evaluate("[...chosen.marks.values()].map((places) => places.length)")
    assert marked == page.evaluate(
        "[...chosen.marks.values()].map(() => termsAt(STEPS[0], STEPS[0].out[0], chosen.index).count)"
    )
    page.hover("canvas[data-side=out]", position={"x": 5, "y": 5})
    assert page.is_visible("#tip") and page.inner_text("#tip").startswith("[0, 0, ")


def test_the_graph_lights_the_current_box(recorded, visit) -> None:
    run, path = recorded
    k = next(s.index for s in run if s.module == "3.squeeze_excite" and s.op == "sigmoid" and s.phase == "backward")
    page = visit(path, f"#t={k}")
    assert page.locator("#graph .lit text").all_inner_texts() == ["▶ sigmoid"] or "sigmoid" in page.inner_text(
        "#step h2"
    )
    assert page.locator("#graph .lit").count() == 1
    assert [t.strip() for t in page.locator(".crumbs button").all_inner_texts()] == ["all", "3", "squeeze_excite"]
    page.locator(".crumbs button").first.click()
    assert page.locator("#graph .lit").get_attribute("aria-label").startswith("module 3")


def test_source_that_would_end_the_script_is_only_text(visit, tmp_path) -> None:
    source = 'x = tg.Tensor([2.0])\ny = x * 3.0  # </script><script>document.title = "taken"</script><!-- <img src=x>\n'
    file = tmp_path / "wicked.py"
    file.write_text(source)
    with record() as run:
        exec(compile(source, str(file), "exec"), {"tg": tg})
    page = visit(run.page(tmp_path / "page.html", "</title><script>1</script>"))
    assert page.title() == "</title><script>1</script>"
    assert '</script><script>document.title = "taken"</script><!-- <img src=x>' in page.inner_text("#step pre >> nth=0")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_s_width_is_enough(recorded, visit, scheme) -> None:
    _, path = recorded
    page = visit(path, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    for k in (0, 20, 50, 90):
        page.evaluate(f"go({k})")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


def test_every_control_has_a_name(recorded, visit) -> None:
    _, path = recorded
    page = visit(path)
    unnamed = page.evaluate(
        """[...document.querySelectorAll('button, input, select, canvas[tabindex], [role=button]')].filter((e) =>
            !(e.getAttribute('aria-label') || e.textContent.trim() || e.closest('label'))).map((e) => e.outerHTML)"""
    )
    assert unnamed == []


@pytest.mark.slow
def test_a_whole_step_of_efficientnet(visit, tmp_path) -> None:
    tg.manual_seed(1)
    network = nn.EfficientNet("b0", 196, fused=False)
    images, labels = pictures(size=64, count=4)
    with record(check_rules=False) as run:
        training_step(network, optim.NAdam(network.named_parameters()), images, labels)
    path = run.page(tmp_path / "b0.html")
    assert path.stat().st_size <= 5_000_000
    page = visit(path)
    seconds = page.evaluate(
        """STEPS.map((_, k) => {
            const start = performance.now();
            go(k, true);
            document.body.getBoundingClientRect();
            return (performance.now() - start) / 1000;
        })"""
    )
    assert len(seconds) == len(run) > 1000
    assert np.median(seconds) < STEP_SECONDS  # the longest alone would measure the machine's other work


def test_the_gradient_of_a_broadcast_operand_is_shown_as_a_sum(visit, tmp_path) -> None:
    x = tg.Tensor([[1.0, 2.0, 3.0], [4.0, 5.0, -6.0]], requires_grad=True)
    row, column = tg.Tensor([10.0, 20.0, 30.0], requires_grad=True), tg.Tensor([[7.0], [-8.0]], requires_grad=True)
    with record() as run:
        ((x + row) * column).backward(np.array([[1.0, 2.0, 3.0], [40.0, 50.0, 60.0]], "f"))
    page = visit(run.page(tmp_path / "page.html"))

    def worked(op):
        return page.evaluate(
            """op => {
                go(STEPS.findIndex((step) => step.p === 1 && step.op === op));
                const step = STEPS[current], i = step.out.findIndex((out) => out[4] === 1);
                choose(step, 'out', i, value(step.out[i][1]).shape.length === 1 ? [2] : [1, 0]);
                return [document.querySelector('#numbers').innerText, [...chosen.marks.values()][0]];
            }""",
            op,
        )

    assert worked("mul") == [
        "b̄[1, 0] = 40 · 14 + 50 · 25 + 60 · 24 = 3250\n\nThis entry was used for 3 entries of the result, outlined "
        "below in ȳ; what the rule gives for each is added up.\n\nb̄[1, 0] = 3250",
        [3, 4, 5],
    ]
    assert worked("add")[0].startswith("b̄[2] = 21 + (-480) = -459") and worked("add")[1] == [2, 5]


def value_of(written: str) -> float:
    """Of the right-hand side of a formula with numbers, as the page writes it."""
    for sign, plain in (("−", "-"), ("·", "*"), ("√(", "sqrt("), ("∞", "inf")):
        written = written.replace(sign, plain)
    return eval(written.split(" = ")[1], {"sqrt": np.sqrt})


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_is_worked_out_with_the_numbers_of_its_channel(visit, tmp_path, training) -> None:
    rng = np.random.default_rng(5)
    x = tg.Tensor(rng.normal(2, 3, (2, 3, 2, 3)), requires_grad=True)  # as many columns as channels
    vectors = [tg.Tensor(rng.uniform(1, 2, 3), requires_grad=True) for _ in range(4)]
    mean, var, weight, bias = vectors if not training else (None, None, *vectors[2:])
    with record() as run:
        y = tg.batch_norm(x, mean, var, weight, bias, training)
        y.backward(rng.normal(size=y.shape))
    page = visit(run.page(tmp_path / "page.html"))
    op = "batch_norm" if training else "scale_shift"
    for phase in ("forward", "backward"):
        step = run[run.until(op=op, phase=phase)]
        assert len(step.outputs) == (1 if phase == "forward" else 3)
        for i, out in enumerate(step.outputs):
            for index in np.ndindex(out.value.shape):
                lines = page.evaluate(
                    """([k, i, index]) => {
                        go(k);
                        choose(STEPS[k], 'out', i, index);
                        return [...document.querySelectorAll('#numbers p')].map((line) => line.textContent);
                    }""",
                    [step.index, i, list(index)],
                )
                assert value_of(lines[0].removesuffix(", channel by channel")) == pytest.approx(
                    out.value.at(index), rel=5e-3, abs=5e-3
                )
                if training and len(index) == 4:
                    channel = x.numpy()[:, index[1]]
                    normal = (x.numpy()[index] - channel.mean()) / np.sqrt(channel.var() + 1e-5)
                    listed = dict(entry.split(" = ") for entry in lines[-2].removeprefix("at this entry: ").split(", "))
                    assert float(listed["μ"]) == pytest.approx(channel.mean(), rel=1e-6)
                    assert float(listed["x̂"]) == pytest.approx(normal, rel=1e-5)


@pytest.mark.parametrize("by", ["srcdoc", "file"])
def test_a_page_in_a_frame_of_a_notebook_steps_there(browser, tmp_path, recorded, by) -> None:
    run, _ = recorded
    shown = run.embed(start=5, path=None if by == "srcdoc" else tmp_path / "steps.html", title="Within")
    notebook = tmp_path / "notebook.html"
    notebook.write_text(f"<!DOCTYPE html><title>n</title>{shown._repr_html_()}", encoding="utf-8")
    page = browser.new_page()
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(notebook.as_uri())
    frame = page.query_selector("iframe").content_frame()
    wait_for_step(frame, 5)
    frame.click("#next")
    assert frame.evaluate("current") == 6
    target = frame.eval_on_selector('#step a[href^="#t="]', "link => Number(link.hash.slice(3))")
    frame.click('#step a[href^="#t="]')  # within the frame, and not to an address of the page around
    assert frame.evaluate("current") == target
    assert page.url == notebook.as_uri()
    assert messages == []
    page.close()


def test_a_name_with_an_exponent_gets_its_number_too(visit, tmp_path) -> None:
    a, b = tg.Tensor(3.0, requires_grad=True), tg.Tensor(4.0, requires_grad=True)
    with record() as run:
        (a / b).backward()
    page = visit(run.page(tmp_path / "div.html"), "#t=1")
    page.evaluate("choose(STEPS[1], 'out', 1, [])")  # its rule has b²
    assert "-0.1875 = −1 · 3 / 4²" in page.inner_text("#numbers").replace("(-0.1875)", "-0.1875")
