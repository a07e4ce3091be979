"""PyTorch's files are read and written bit for bit, run nothing, and refuse what is damaged."""

from __future__ import annotations

import collections
import io
import struct
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tinygrad_effnet.weights.errors import WeightsError
from tinygrad_effnet.weights.torch_files import STORAGES, read_torch_file
from tinygrad_effnet.weights.torch_writer import write_torch_file

DTYPES = [np.dtype(code) for kind, code in STORAGES.items() if kind != "BFloat16Storage"]


@st.composite
def states(draw):
    dtype = st.sampled_from(DTYPES)
    any_array = dtype.flatmap(lambda d: arrays(d, array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)))
    return draw(st.dictionaries(st.text(min_size=1, max_size=12), any_array, max_size=5))


@given(states())
def test_what_is_written_is_read_again_bit_for_bit(tmp_path_factory, state):
    path = tmp_path_factory.mktemp("w") / "w.pth"
    write_torch_file(path, state)
    found = read_torch_file(path)
    assert list(found) == list(state)
    for name, array in state.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def test_strided_and_big_endian_arrays_are_written_by_value(tmp_path):
    x = np.arange(24, dtype=">f4").reshape(4, 6)
    write_torch_file(tmp_path / "w.pt", {"t": x.T, "s": x[::2, ::-1]})
    found = read_torch_file(tmp_path / "w.pt")
    np.testing.assert_array_equal(found["t"], x.T)
    np.testing.assert_array_equal(found["s"], x[::2, ::-1])
    assert found["s"].dtype == np.float32


def test_a_dtype_without_storage_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(WeightsError, match="'z' is complex64"):
        write_torch_file(tmp_path / "w.pt", {"a": np.zeros(3), "z": np.zeros(2, np.complex64)})
    assert not list(tmp_path.iterdir())


# -- beside PyTorch ------------------------------------------------------------------------------------------------


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")


def torch_state(torch):
    g = torch.Generator().manual_seed(3)
    base = torch.randn(10, generator=g)
    return collections.OrderedDict(
        floats=torch.randn(3, 4, generator=g),
        transposed=torch.nn.Parameter(torch.randn(2, 3, generator=g).t()),
        slice=base[2:5],
        steps=base[1::3],
        counter=torch.tensor(7),
        empty=torch.zeros(0, 3),
        flags=torch.tensor([True, False]),
        halves=torch.randn(3, generator=g).half(),
        brain=torch.tensor([1.5, -2.0, 3.25, float("inf")]).bfloat16(),
        doubles=torch.randn(2, 2, generator=g).double(),
    )


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_reads_what_torch_writes(tmp_path, torch, zipped):
    state = torch_state(torch)
    path = tmp_path / "w.pth"
    content = {"model": state, "epoch": 3, "rates": [0.1, None, "x", 2**70, True], "pair": (1, -2)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    found = read_torch_file(path)
    assert found["epoch"] == 3
    assert found["rates"] == content["rates"]
    assert found["pair"] == (1, -2)
    for name, tensor in state.items():
        expected = tensor.detach()
        expected = expected.float().numpy() if name == "brain" else expected.numpy()
        np.testing.assert_array_equal(found["model"][name], expected, err_msg=name)
        assert found["model"][name].dtype == expected.dtype


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_whole_module_is_refused_by_name(tmp_path, torch, zipped):
    path = tmp_path / "w.pth"
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"names torch\.nn\.modules\.container\.Sequential.*state_dict"):
        read_torch_file(path)


def test_torch_reads_what_is_written(tmp_path, torch):
    rng = np.random.default_rng(5)
    state = {"a.weight": rng.normal(size=(3, 2, 1, 1)).astype("f4"), "n": np.array(5), "b": np.zeros((0, 2), "f8")}
    write_torch_file(tmp_path / "w.pth", state)
    found = torch.load(tmp_path / "w.pth", weights_only=True)
    assert list(found) == list(state)
    for name, array in state.items():
        np.testing.assert_array_equal(found[name].numpy(), array)
        assert found[name].numpy().dtype == array.dtype
        assert found[name].is_contiguous()


# -- what must be refused ------------------------------------------------------------------------------------------


def archive(pickled: bytes, storages: dict[str, bytes] | None = None, method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as z:
        z.writestr("archive/data.pkl", pickled)
        for key, data in (storages or {}).items():
            z.writestr(f"archive/data/{key}", data)
    return file.getvalue()


def tensor_pickle(shape, strides, offset=0, count=4, kind="FloatStorage", key="0") -> bytes:
    from tinygrad_effnet.weights import torch_writer as w

    reference = w._tuple(w._text("storage"), w._name("torch", kind), w._text(key), w._text("cpu"), w._int(count))
    parts = (reference + b"Q", w._int(offset), w._tuple(*map(w._int, shape)), w._tuple(*map(w._int, strides)))
    return b"\x80\x02" + w._name("torch._utils", "_rebuild_tensor_v2") + w._tuple(*parts) + b"R."


FOUR = {"0": struct.pack("<4f", 1, 2, 3, 4)}


def refused(tmp_path, data: bytes) -> str:
    path = tmp_path / "bad.pth"
    path.write_bytes(data)
    with pytest.raises(WeightsError) as caught:
        read_torch_file(path)
    assert "bad.pth" in str(caught.value)
    return str(caught.value)


def test_the_helpers_of_these_tests_make_files_that_are_read(tmp_path):
    (tmp_path / "good.pth").write_bytes(archive(tensor_pickle((2, 2), (1, 2)), FOUR))
    np.testing.assert_array_equal(read_torch_file(tmp_path / "good.pth"), [[1, 3], [2, 4]])


@pytest.mark.parametrize("name", ["os system", "builtins eval", "torch.nn.modules.linear Linear", "posix system"])
def test_functions_are_never_called(tmp_path, name):
    module, function = name.split()
    message = refused(tmp_path, archive(f"c{module}\n{function}\n".encode() + b"X\x04\x00\x00\x00exit\x85R."))
    assert f"names {module}.{function}" in message
    message = refused(tmp_path, archive(b"\x80\x04\x8c\x02os\x8c\x06system\x93X\x04\x00\x00\x00exit\x85R."))
    assert "names os.system" in message


@pytest.mark.parametrize(
    "shape, strides, offset, count",
    [
        ((5,), (1,), 0, 4),
        ((2, 2), (4, 1), 0, 4),
        ((4,), (1,), 1, 4),
        ((1000, 1000, 1000), (0, 0, 0), 0, 4),
        ((4,), (1, 1), 0, 4),
        ((-1,), (1,), 0, 4),
        ((2,), (-1,), 3, 4),
        ((4,), (1,), 0, 5),
        ((1,) * 40, (1,) * 40, 0, 4),
    ],
)
def test_windows_beyond_their_storage_are_refused(tmp_path, shape, strides, offset, count):
    refused(tmp_path, archive(tensor_pickle(shape, strides, offset, count), FOUR))


def test_zip_bombs_and_missing_parts_are_refused(tmp_path):
    bomb = archive(tensor_pickle((1 << 24,), (1,), 0, 1 << 24), {"0": bytes(1 << 26)}, zipfile.ZIP_DEFLATED)
    assert "compressed" in refused(tmp_path, bomb)
    assert "missing" in refused(tmp_path, archive(tensor_pickle((4,), (1,))))
    assert "no data.pkl" in refused(tmp_path, b"PK\x05\x06" + bytes(18))
    whole = archive(tensor_pickle((4,), (1,)), FOUR)
    for cut in (10, len(whole) // 2, len(whole) - 5):
        refused(tmp_path, whole[:cut])
    damaged = whole.replace(FOUR["0"], struct.pack("<4f", 1, 2, 3, 5))  # the checksum no longer fits
    refused(tmp_path, damaged)


def test_a_legacy_file_that_promises_more_than_it_holds_takes_no_memory(tmp_path):
    data = LEGACY_HEAD + tensor_pickle((1 << 30,), (1,), 0, 1 << 30)
    tracemalloc.start()
    assert "longer than the file" in refused(tmp_path, data)
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


LEGACY_HEAD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + b"\x80\x02M\xe9\x03." + b"\x80\x02}."
DOUBLED = b")" + b"q\x05h\x05\x86" * 60  # a tuple that holds the one before it twice, and so on: 2^60 in all
NESTED = b")" + b"\x85" * 300_000


@pytest.mark.parametrize("tuples", [DOUBLED, NESTED], ids=["doubled", "nested"])
@pytest.mark.parametrize("pickled", [b"}%bNs.", b"}(%bNu.", b"ccollections\nOrderedDict\n]%bN\x86a\x85R."])
def test_keys_that_would_take_years_or_the_process_are_not_hashed(tmp_path, tuples, pickled):
    assert "a tuple as the key" in refused(tmp_path, archive(b"\x80\x02" + pickled % tuples))


def test_names_are_not_made_of_what_is_no_text(tmp_path):
    assert "a name that is no text" in refused(tmp_path, archive(b"\x80\x04" + DOUBLED + DOUBLED + b"\x93."))


def test_a_file_that_asks_for_much_is_given_up(tmp_path):
    assert "steps to its end" in refused(tmp_path, archive(b"\x80\x02" + b"}" * 1_100_000 + b"."))
    # ten thousand copies of a list of ten thousand
    copies = b"\x80\x02](" + b"K\x01K\x02\x86" * 10_000 + b"eq\x00" + b"ccollections\nOrderedDict\nh\x00\x85R" * 10_000
    assert "steps to its end" in refused(tmp_path, archive(copies + b"."))
    assert "no tuple" in refused(tmp_path, archive(b"\x80\x02ctorch\nSize\nX\x03\x00\x00\x00aaa\x85R."))


def test_lengths_in_a_legacy_file_allocate_nothing(tmp_path):
    for text in (b"X\xff\xff\xff\xff", b"\x8d\x00\x00\x00\x00\x01\x00\x00\x00", b"\x8e" + b"\xff" * 7 + b"\x7f"):
        tracemalloc.start()
        refused(tmp_path, LEGACY_HEAD + b"\x80\x04" + text + b"abc.")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()


def test_storages_of_a_legacy_file_that_are_not_named_by_texts(tmp_path):
    described = LEGACY_HEAD + tensor_pickle((2, 2), (2, 1))
    for keys in (b"](]e.", b"](" + DOUBLED + b"e.", b"](X\x01\x00\x00\x000K\x01e."):
        assert "not those that the tensors refer to" in refused(tmp_path, described + b"\x80\x02" + keys)


def test_what_zipfile_stumbles_over_is_damage_like_any_other(tmp_path):
    whole = archive(tensor_pickle((4,), (1,)), FOUR)
    entry = whole.index(b"PK\x01\x02")
    encrypted = bytearray(whole)
    encrypted[entry + 8] |= 1
    encrypted[6] |= 1
    assert "damaged" in refused(tmp_path, bytes(encrypted))
    far = bytearray(whole)
    far[entry + 42 : entry + 46] = struct.pack("<I", len(whole) - 4)  # where the entry begins
    assert "damaged" in refused(tmp_path, bytes(far))


def test_other_files_are_told_apart(tmp_path):
    with pytest.raises(WeightsError, match=r"cannot be read \(No such file"):
        read_torch_file(tmp_path / "none.pth")
    old = io.BytesIO()
    with tarfile.open(fileobj=old, mode="w") as tar:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    assert "tar format of 2017" in refused(tmp_path, old.getvalue())
    assert "no file that torch.save made" in refused(tmp_path, b"GIF89a")


@settings(max_examples=300)
@given(st.data())
def test_a_mutated_file_is_read_or_refused_but_never_anything_else(tmp_path_factory, data):
    whole = archive(tensor_pickle((2, 2), (2, 1)), FOUR)
    if data.draw(st.booleans()):
        whole = (
            LEGACY_HEAD
            + tensor_pickle((2, 2), (2, 1))
            + b"\x80\x02]X\x01\x00\x00\x000a."
            + struct.pack("<q", 4)
            + FOUR["0"]
        )
    mutated = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        kind = data.draw(st.sampled_from(["set", "cut", "insert", "delete"]))
        if kind == "set":
            mutated[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            mutated = mutated[: max(at, 1)]
        elif kind == "insert":
            mutated[at:at] = data.draw(st.binary(min_size=1, max_size=9))
        elif len(mutated) > 1:
            del mutated[at]
    path = tmp_path_factory.mktemp("m") / "m.pth"
    path.write_bytes(bytes(mutated))
    try:
        read_torch_file(path)
    except WeightsError:
        pass
