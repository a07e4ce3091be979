"""Which backend runs: the default, `use_backend` as a call and as a block, threads, names that are no backend."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

from tinygrad_effnet import backends
from tinygrad_effnet.backends import available_backends, backend_of, current_backend, use_backend
from tinygrad_effnet.backends.vectorized import NumPy


class Compiled(NumPy):
    """Stands in for the compiled backend, so that these tests need no Numba."""

    name = "numba"


@pytest.fixture(autouse=True)
def fresh_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing chosen yet, and whatever a test chooses is forgotten after it."""
    monkeypatch.setattr(backends, "_default", None)
    monkeypatch.setattr(backends, "_default_from", None)
    monkeypatch.setattr(backends, "_choice", type(backends._choice)())
    monkeypatch.setattr(backends, "_made", {})


def with_numba(monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    """Make this process look as if Numba were installed, or as if it were not."""
    really = importlib.util.find_spec

    def find_spec(name: str, *rest: Any) -> Any:
        if name == "numba":
            return really("math") if installed else None
        return really(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    monkeypatch.setitem(backends._makers, "numba", Compiled)


def test_the_fastest_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    with_numba(monkeypatch, installed=True)
    assert available_backends() == ["loops", "numpy", "numba"]
    assert current_backend().name == "numba"


def test_without_numba_numpy_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    with_numba(monkeypatch, installed=False)
    assert available_backends() == ["loops", "numpy"]
    assert current_backend().name == "numpy"


def test_a_missing_package_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    with_numba(monkeypatch, installed=False)
    with pytest.raises(ImportError, match="pip install numba"):
        use_backend("numba")
    assert current_backend().name == "numpy"


@pytest.mark.parametrize("name", ["tensorflow", "", "NumPy", None])
def test_an_unknown_name_is_answered_with_the_known_ones(name: Any) -> None:
    use_backend("loops")
    with pytest.raises(ValueError, match="loops.*numpy"):
        use_backend(name)
    assert current_backend().name == "loops"


def test_a_plain_call_chooses_for_the_process() -> None:
    use_backend("loops")
    assert current_backend().name == "loops"
    use_backend("numpy")
    assert current_backend().name == "numpy"


def test_a_backend_is_made_once() -> None:
    use_backend("numpy")
    first = current_backend()
    use_backend("loops")
    use_backend("numpy")
    assert current_backend() is first


def test_blocks_nest_and_end() -> None:
    use_backend("numpy")
    with use_backend("loops") as outer:
        assert current_backend() is outer
        assert outer.name == "loops"
        with use_backend("numpy"), use_backend("loops") as inner:
            assert current_backend() is inner
        assert current_backend() is outer
    assert current_backend().name == "numpy"


def test_a_block_that_fails_ends_too() -> None:
    use_backend("numpy")
    with pytest.raises(ZeroDivisionError), use_backend("loops"):
        raise ZeroDivisionError
    assert current_backend().name == "numpy"


def test_a_block_leaves_no_default_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    with_numba(monkeypatch, installed=True)
    with use_backend("loops"):
        pass
    assert current_backend().name == "numba"


def test_a_choice_can_be_entered_again() -> None:
    use_backend("numpy")
    chosen = use_backend("loops")
    with chosen:
        with chosen:
            assert current_backend().name == "loops"
        assert current_backend().name == "loops"
    assert current_backend().name == "numpy"
    use_backend("loops")  # a call between the blocks, which the second block must not undo
    with chosen:
        pass
    assert current_backend().name == "loops"


def test_one_choice_can_be_entered_by_two_threads() -> None:
    """Each thread leaves its own blocks, in whatever order the threads take turns."""
    use_backend("numpy")
    chosen = use_backend("loops")
    entered, leave = threading.Event(), threading.Event()
    seen: list[str] = []

    def other() -> None:
        with use_backend("numpy"):
            with chosen:
                entered.set()
                leave.wait(10)
            seen.append(current_backend().name)

    thread = threading.Thread(target=other)
    with chosen:
        thread.start()
        assert entered.wait(10)
    leave.set()
    thread.join(10)
    assert seen == ["numpy"]
    assert current_backend().name == "numpy"


def test_a_call_inside_a_block_waits_for_its_end() -> None:
    use_backend("numpy")
    with use_backend("numpy"):
        use_backend("loops")
        assert current_backend().name == "numpy"
    assert current_backend().name == "loops"


def test_a_block_is_its_threads_own_a_call_everybodys() -> None:
    seen: dict[str, str] = {}
    inside, done = threading.Event(), threading.Event()

    def other() -> None:
        with use_backend("loops"):
            seen["block"] = current_backend().name
            inside.set()
            done.wait(10)

    use_backend("numpy")
    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    assert current_backend().name == "numpy"
    done.set()
    thread.join(10)
    assert seen == {"block": "loops"}

    use_backend("loops")
    thread = threading.Thread(target=lambda: seen.update(call=current_backend().name))
    thread.start()
    thread.join(10)
    assert seen["call"] == "loops"


def test_arrays_of_the_host_follow_the_choice() -> None:
    arrays = [np.ones(2), np.ones(())]
    use_backend("numpy")
    assert backend_of(arrays) is current_backend()
    with use_backend("loops") as chosen:
        assert backend_of(arrays) is chosen
    assert backend_of([]).name == "numpy"


@pytest.mark.parametrize("stranger", [[1.0, 2.0], 3.0, memoryview(b"12")])
def test_an_array_from_elsewhere_is_an_error(stranger: Any) -> None:
    with pytest.raises(TypeError, match=f"{type(stranger).__name__}.*convert"):
        backend_of([np.ones(2), stranger])


def test_repr_is_the_call_that_made_it() -> None:
    assert repr(use_backend("loops")) == "use_backend('loops')"


def test_nothing_heavy_is_imported_until_it_is_chosen() -> None:
    program = (
        "import sys; from tinygrad_effnet.backends import use_backend; use_backend('loops'); use_backend('numpy');"
        "print(sorted({'numba', 'scipy', 'matplotlib', 'PIL'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": _paths()}
    )
    assert ran.stdout.strip() == "[]"


def _paths() -> str:
    return ":".join(path for path in sys.path if path)
