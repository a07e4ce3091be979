from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tinygrad_effnet.training import checkpoint as module
from tinygrad_effnet.training.checkpoint import (
    CheckpointDamagedError,
    CheckpointError,
    load_checkpoint,
    load_weights,
    restore_rng,
    rng_state,
    save_checkpoint,
    save_weights,
)

shapes = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
integers = npst.integer_dtypes(endianness="<") | npst.unsigned_integer_dtypes(endianness="<")
dtypes = npst.boolean_dtypes() | integers | npst.floating_dtypes(endianness="<")
any_array = npst.arrays(dtypes, shapes)
names = st.text(min_size=1, max_size=8).filter(lambda text: text.isprintable() and text != "__metadata__")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
Contents = tuple[dict[str, dict[str, np.ndarray]], dict[str, object]]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


def sample(epoch: int) -> Contents:
    rng = np.random.default_rng(epoch)
    arrays = {
        "model": {"stem.conv.weight": rng.standard_normal((4, 3, 3, 3)).astype(np.float32)},
        "optimizer": {"0.momentum": rng.standard_normal(7), "0.step": np.array(epoch)},
    }
    return arrays, {"epoch": epoch, "rng": rng_state(rng), "config": {"lr": 2e-3, "betas": [0.9, 0.999]}}


def refuse(*_: object) -> None:
    raise OSError(28, "refused")


def assert_same(actual: Contents, expected: Contents) -> None:
    assert actual[1] == expected[1]
    assert actual[0].keys() == expected[0].keys()
    for group, members in expected[0].items():
        assert actual[0][group].keys() == members.keys()
        for key, array in members.items():
            found = actual[0][group][key]
            assert (found.dtype, found.shape) == (array.dtype, array.shape)
            assert found.tobytes() == array.tobytes()


@settings(deadline=None)
@given(st.dictionaries(names, any_array, max_size=4), st.dictionaries(names, st.text(max_size=9), max_size=3))
def test_weights_round_trip_bit_for_bit(scratch: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    path = scratch / "weights.safetensors"
    save_weights(path, arrays, metadata)
    loaded, notes = load_weights(path)
    assert_same(({"weights": loaded}, notes), ({"weights": arrays}, metadata))
    assert all(array.flags.writeable for array in loaded.values())


def test_strided_and_big_endian_arrays_keep_their_values(tmp_path: Path) -> None:
    base = np.random.default_rng(3).standard_normal((4, 5, 6))
    arrays = {"transposed": base.transpose(2, 0, 1), "stepped": base[::2, :, ::-1], "foreign": base.astype(">f4")}
    save_weights(tmp_path / "w.safetensors", arrays)
    for loaded in (
        load_weights(tmp_path / "w.safetensors")[0],
        safetensors.numpy.load_file(tmp_path / "w.safetensors"),
    ):
        for key, array in arrays.items():
            np.testing.assert_array_equal(loaded[key], array)


@settings(deadline=None)
@given(
    st.dictionaries(
        names.filter(lambda text: "/" not in text), st.dictionaries(names, any_array, max_size=3), max_size=3
    ),
    st.dictionaries(st.text(max_size=5), json_values, max_size=4),
)
def test_checkpoints_round_trip(
    scratch: Path, arrays: dict[str, dict[str, np.ndarray]], state: dict[str, object]
) -> None:
    assert_same(load_checkpoint(save_checkpoint(scratch, "any", arrays, state)), (arrays, state))


def test_a_checkpoint_is_one_file_which_other_programs_read(tmp_path: Path) -> None:
    arrays, state = sample(1)
    path = save_checkpoint(tmp_path, "last", arrays, state)
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.safetensors"]
    plain = safetensors.numpy.load_file(path)
    np.testing.assert_array_equal(plain["model/stem.conv.weight"], arrays["model"]["stem.conv.weight"])


def test_state_takes_numpy_scalars_tuples_and_infinities(tmp_path: Path) -> None:
    state = {"best": -np.inf, "loss": np.float32(0.5), "betas": (0.9, 0.999), "step": np.int64(2**40), "nan": np.nan}
    _, loaded = load_checkpoint(save_checkpoint(tmp_path, "last", {}, state))
    assert np.isnan(loaded.pop("nan"))
    assert loaded == {"best": -np.inf, "loss": 0.5, "betas": [0.9, 0.999], "step": 2**40}


def test_the_file_before_is_kept_and_used_when_the_newest_is_damaged(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        path = save_checkpoint(tmp_path, "last", *sample(epoch))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["last.previous.safetensors", "last.safetensors"]
    assert_same(load_checkpoint(path), sample(3))
    assert_same(load_checkpoint(tmp_path / "last.previous.safetensors"), sample(2))
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.warns(UserWarning, match=r"checksum.*Going on from .*last\.previous\.safetensors"):
        assert_same(load_checkpoint(path), sample(2))
    path.unlink()
    with pytest.warns(UserWarning, match=r"does not exist.*Going on from"):
        assert_same(load_checkpoint(path), sample(2))
    (tmp_path / "last.previous.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"does not exist.*before it cannot be used either"):
        load_checkpoint(path)


def test_file_systems_without_hard_links_keep_the_file_before_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refuse)
    for epoch in (1, 2):
        save_checkpoint(tmp_path, "last", *sample(epoch))
    assert_same(load_checkpoint(tmp_path / "last.previous.safetensors"), sample(1))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["last.previous.safetensors", "last.safetensors"]


def test_every_bit_flip_and_every_truncation_is_noticed(scratch: Path) -> None:
    folder = scratch / "flips"
    folder.mkdir()
    path = save_checkpoint(folder, "last", {"model": {"w": np.arange(6, dtype=np.float32)}}, {"epoch": 5})
    sound = path.read_bytes()
    expected = load_checkpoint(path)
    refused = 0
    for position in range(len(sound)):
        data = bytearray(sound)
        data[position] ^= 1 << (position % 8)
        path.write_bytes(data)
        try:
            found = load_checkpoint(path)
        except CheckpointError:
            refused += 1
        else:
            # A flip in the header's padding or spelling that changes nothing which was stored.
            assert_same(found, expected)
    assert refused > 0.9 * len(sound)
    for length in range(len(sound)):
        path.write_bytes(sound[:length])
        with pytest.raises(CheckpointDamagedError, match=r"truncated, damaged or not a safetensors file"):
            load_checkpoint(path)


@settings(deadline=None)
@given(st.data())
def test_no_damage_escapes_as_another_error(scratch: Path, data: st.DataObject) -> None:
    folder = scratch / "fuzz"
    folder.mkdir(exist_ok=True)
    sound = folder / "sound.safetensors"
    if not sound.exists():
        save_checkpoint(folder, "sound", {"m": {"w": np.arange(6.0), "e": np.zeros((0, 3))}}, {"epoch": 5})
    content = bytearray(sound.read_bytes())
    start = data.draw(st.integers(0, len(content)))
    stop = data.draw(st.integers(start, min(len(content), start + 12)))
    content[start:stop] = data.draw(st.binary(max_size=12))
    path = folder / "broken.safetensors"
    path.write_bytes(content)
    for load in (load_checkpoint, load_weights):
        try:
            load(path)
        except CheckpointError as error:
            assert str(path) in str(error)


def test_another_version_is_refused_even_if_an_older_file_would_do(tmp_path: Path) -> None:
    for epoch in (1, 2):
        path = save_checkpoint(tmp_path, "last", *sample(epoch))
    arrays, metadata = load_weights(path)
    save_weights(path, arrays, metadata | {"version": "99"})
    with pytest.raises(CheckpointError, match=r"version '99'.*reads version 1.*Resume with the version"):
        load_checkpoint(path)
    save_weights(path, arrays, metadata | {"state": metadata["state"].replace('"epoch": 2', '"epoch": 7')})
    with pytest.warns(UserWarning, match="checksum"):
        assert_same(load_checkpoint(path), sample(1))


def test_wrong_paths_files_and_metadata_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nothing\.safetensors does not exist"):
        load_checkpoint(tmp_path / "nothing.safetensors")
    save_weights(tmp_path / "best.safetensors", {"w": np.ones(2)})
    with pytest.raises(CheckpointError, match=r"not a checkpoint.*load_weights"):
        load_checkpoint(tmp_path / "best.safetensors")
    with pytest.raises(CheckpointError, match=r"is a folder\. .*best\.safetensors"):
        load_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="does not exist"):
        load_weights(tmp_path / "nothing.safetensors")
    with pytest.raises(TypeError, match=r"metadata\['epoch'\]: expected a string, got int"):
        save_weights(tmp_path / "w.safetensors", {}, {"epoch": 1})  # type: ignore[dict-item]


def test_types_which_numpy_lacks_are_named(tmp_path: Path) -> None:
    header = json.dumps({"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(CheckpointError, match=r"'w' has type BF16.*F32"):
        load_weights(path)


@pytest.mark.parametrize(
    ("arrays", "state", "error", "message"),
    [
        ({"model": {"w": [1.0]}}, {}, TypeError, r"arrays\['model'\]\['w'\]: expected a NumPy array, got list"),
        ({"model": {"w": np.array(["a"])}}, {}, TypeError, r"arrays\['model'\]\['w'\]: expected one of bool"),
        ({"model": {"w": np.array([1j])}}, {}, TypeError, r"got complex128"),
        ({"model": {1: np.ones(2)}}, {}, TypeError, r"arrays\['model'\]: expected names"),
        ({"a/b": {}}, {}, ValueError, r"group names.*'a/b'"),
        ({}, {"step": {3: "x"}}, TypeError, r"state\['step'\]: JSON keys are strings, got 3"),
        ({}, {"w": [0, np.ones(2)]}, TypeError, r"state\['w'\]\[1\]: JSON has no ndarray.*arrays"),
        ({}, {"path": Path("x")}, TypeError, r"state\['path'\]: JSON has no"),
    ],
)
def test_what_would_not_come_back_is_refused_and_the_old_file_stays(
    tmp_path: Path, arrays: dict, state: dict, error: type[Exception], message: str
) -> None:
    path = save_checkpoint(tmp_path, "last", *sample(1))
    before = path.read_bytes()
    with pytest.raises(error, match=message):
        save_checkpoint(tmp_path, "last", arrays, state)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_checkpoint(tmp_path, "last", *sample(1))
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="refused"):
        save_checkpoint(tmp_path, "last", *sample(2))
    monkeypatch.undo()
    assert_same(load_checkpoint(path), sample(1))
    assert list(tmp_path.iterdir()) == [path]


CHILD = """
import itertools, sys
import numpy as np
from tinygrad_effnet.training.checkpoint import save_checkpoint
for epoch in itertools.count(int(sys.argv[2])):
    weights = np.full(200_000, epoch, dtype=np.float32)
    save_checkpoint(sys.argv[1], "last", {"model": {"w": weights}}, {"epoch": epoch})
    print(epoch, flush=True)
"""
DYING_CHILD = """
import io, itertools, os, signal, sys
import numpy as np
from tinygrad_effnet.training import checkpoint

def save(epoch):
    checkpoint.save_checkpoint(sys.argv[1], "last", {"model": {"w": np.full(50, epoch)}}, {"epoch": epoch})

save(1)
save(2)
steps = itertools.count()
def step():
    if next(steps) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
def watched(real):
    return lambda *given: (step(), real(*given), step())
for name in ("link", "fsync", "replace"):
    setattr(os, name, watched(getattr(os, name)))
real_write = checkpoint.atomic_write

def write_in_halves(path, write):
    whole = io.BytesIO()
    write(whole)
    half = len(whole.getvalue()) // 2
    real_write(path, lambda file: (file.write(whole.getvalue()[:half]), file.flush(), step(),
                                   file.write(whole.getvalue()[half:])))
checkpoint.atomic_write = write_in_halves
save(3)
"""


def child_environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(module.__file__).parents[2])}


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX's")
@pytest.mark.filterwarnings("error")
def test_kill_9_at_every_step_of_a_save_leaves_two_whole_checkpoints(tmp_path: Path) -> None:
    epochs = []
    for step in range(40):
        folder = tmp_path / str(step)
        folder.mkdir()
        command = [sys.executable, "-c", DYING_CHILD, str(folder), str(step)]
        code = subprocess.run(command, env=child_environment(), check=False).returncode
        _, newest = load_checkpoint(folder / "last.safetensors")
        _, before = load_checkpoint(folder / "last.previous.safetensors")
        epochs.append((newest["epoch"], before["epoch"]))
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert len(epochs) > 8, "every step was tried"
    assert epochs == sorted(epochs)
    assert set(epochs) == {(2, 1), (3, 1), (3, 2)}


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX's")
@pytest.mark.filterwarnings("error")  # the newest itself must be whole, without help from the one before
def test_kill_9_in_the_middle_of_saving_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    epoch = 0
    for delay in np.random.default_rng(11).uniform(0.0, 0.04, 5):
        command = [sys.executable, "-c", CHILD, str(tmp_path), str(epoch + 1)]
        with subprocess.Popen(command, env=child_environment(), stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            told = child.stdout.readline()
            time.sleep(delay)
            child.kill()
            told = (told + child.stdout.read()).split("\n")
        reported = max(int(line) for line in told if line)
        arrays, state = load_checkpoint(tmp_path / "last.safetensors")
        assert state["epoch"] in (reported, reported + 1), "a reported save is never lost"
        assert (arrays["model"]["w"] == state["epoch"]).all()
        epoch = state["epoch"]
    save_checkpoint(tmp_path, "last", *sample(1))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["last.previous.safetensors", "last.safetensors"]


@pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_random_generators_go_on_exactly(tmp_path: Path, kind: str) -> None:
    generator = np.random.Generator(getattr(np.random, kind)(5))
    generator.integers(0, 2**31, 3, dtype=np.int32)  # leaves half a 64-bit word buffered
    _, state = load_checkpoint(save_checkpoint(tmp_path, "last", {}, {"rng": rng_state(generator)}))
    restored = restore_rng(state["rng"])
    np.testing.assert_array_equal(
        restored.integers(0, 2**31, 9, dtype=np.int32), generator.integers(0, 2**31, 9, dtype=np.int32)
    )
    np.testing.assert_array_equal(restored.standard_normal(5), generator.standard_normal(5))


@pytest.mark.parametrize("state", [{}, {"bit_generator": "os"}, {"bit_generator": "PCG64"}, "PCG64", None])
def test_a_bad_random_state_is_refused(state: object) -> None:
    with pytest.raises(CheckpointError, match=r"^state: .*[Ss]eed a new"):
        restore_rng(state)  # type: ignore[arg-type]
