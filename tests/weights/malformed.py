"""Thousands of damaged weights files, each of which must be loaded or refused with our error, in little memory.

Run by ``test_malformed.py`` in a process of its own, ``python malformed.py KIND SEED COUNT``, because a limit on memory
is for a whole process: the system then refuses what Python's own accounting does not see. The last line of the output
is a JSON object; a file that does anything else than to load or be refused ends the process with its seed, so that
``python malformed.py KIND SEED 1`` repeats it.
"""

from __future__ import annotations

import io
import json
import random
import struct
import sys
import tempfile
import tracemalloc
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tinygrad_effnet import nn, weights
from tinygrad_effnet.weights import torch_writer

Mutator = Callable[[random.Random], bytes]

MARGIN = 1 << 28  # bytes of address space beyond those in use at the start
PEAK = 1 << 22  # bytes that Python's accounting may see for one file; the files are a thousandth of that
NUMBERS = (0, 1, 2, 7, 8, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**64 - 1)


class Small(nn.Module):
    """A first convolution and a classifier by their names in this package, so that files can be described."""

    def __init__(self) -> None:
        self.stem = nn.ConvNormAct(1, 2, 1)
        self.classifier = nn.Linear(3, 2)


def network() -> nn.Module:
    return Small()


NOTES = weights.notes_of(
    "efficientnet_b0", ["car", "van"], weights.preprocessing("efficientnet_b0"), {"norm_eps": 1e-3}
)


RNG = np.random.default_rng(5)
ARRAYS = {n: (RNG.standard_normal(t.shape) * 9).astype(t.dtype) for n, t in network().state_dict().items()}


# -- damage of any file -------------------------------------------------------------------------------------------


def damaged(r: random.Random, data: bytes) -> bytes:
    """One to three of the things that happen to files, or are done to them."""
    for _ in range(r.choice((1, 1, 2, 3))):
        data = r.choice(_DAMAGES)(r, data) or b"\x00"
    return data


def _span(r: random.Random, data: bytes, longest: int = 64) -> tuple[int, int]:
    start = r.randrange(len(data))
    return start, min(len(data), start + r.randint(1, longest))


def _flip(r: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(r.choice((1, 1, 2, 8))):
        changed[r.randrange(len(changed))] ^= 1 << r.randrange(8)
    return bytes(changed)


def _number(r: random.Random, data: bytes) -> bytes:
    """A number of two, four or eight bytes that says something else."""
    code = r.choice("HIQ")
    size = struct.calcsize(code)
    at = r.randrange(max(1, len(data) - size))
    number = r.choice((*NUMBERS, len(data), len(data) - 1)) % (1 << (8 * size))
    return data[:at] + struct.pack("<" + code, number) + data[at + size :]


def _overwrite(r: random.Random, data: bytes) -> bytes:
    start, end = _span(r, data)
    return data[:start] + bytes([r.choice((0, 255, r.randrange(256)))]) * (end - start) + data[end:]


def _delete(r: random.Random, data: bytes) -> bytes:
    start, end = _span(r, data)
    return data[:start] + data[end:]


def _insert(r: random.Random, data: bytes) -> bytes:
    start, _ = _span(r, data)
    return data[:start] + r.randbytes(r.randint(1, 32)) + data[start:]


def _repeat(r: random.Random, data: bytes) -> bytes:
    start, end = _span(r, data)
    at = r.randrange(len(data))
    return data[:at] + data[start:end] * r.choice((1, 2, 50)) + data[at:]


def _cut(r: random.Random, data: bytes) -> bytes:
    return data[: r.randrange(len(data))]


def _longer(r: random.Random, data: bytes) -> bytes:
    return data + r.randbytes(r.randint(1, 64))


_DAMAGES = [_flip, _flip, _number, _number, _overwrite, _delete, _insert, _repeat, _cut, _longer]


# -- safetensors ---------------------------------------------------------------------------------------------------


def safetensors_file(header: object, data: bytes, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def safetensors_parts() -> tuple[dict[str, dict], bytes]:
    header: dict[str, dict] = {"__metadata__": {**NOTES, "format": "pt"}}
    data = b""
    names = {"float32": "F32", "int64": "I64"}
    for name, array in ARRAYS.items():
        start, data = len(data), data + array.tobytes()
        header[name] = {
            "dtype": names[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [start, len(data)],
        }
    return header, data


ODD_NOTES = (
    *(
        "",
        "x",
        "0",
        "-1",
        "1e9",
        "999999999999",
        "NaN",
        "null",
        "true",
        "[]",
        "{}",
        "[1, 2, 3]",
        "[NaN, 0, 0]",
        '["a"]',
    ),
    *("[" * 100_000, "9" * 5000, '{"padding": "no"}', '{"norm_eps": -1.0}', '{"norm_eps": NaN}', '{"x": 1}', "\x00"),
)


def mutated_safetensors(r: random.Random) -> bytes:
    header, data = safetensors_parts()
    if r.random() < 0.4:
        return damaged(r, safetensors_file(header, data))
    notes = header["__metadata__"]
    for _ in range(r.choice((0, 0, 0, 1, 2))):
        notes[r.choice(list(notes))] = r.choice(ODD_NOTES)
    for _ in range(r.choice((0, 1, 1, 2, 4))):
        entry = header[r.choice([name for name in header if name != "__metadata__"])]
        kind = r.choice(("dtype", "shape", "offsets", "entry", "key", "move"))
        if kind == "dtype":
            types = "BOOL U8 I8 F8_E5M2 F8_E4M3 F4 I16 U16 F16 BF16 I32 U32 F32 F64 C64 I64 U64 X".split()
            entry["dtype"] = r.choice((*types, None, 3, ["F32"], ""))
        elif kind == "shape":
            sides = (*NUMBERS, -1, 1.5, "3", None, [], 2**70)
            entry["shape"] = r.choice(([r.choice(sides) for _ in range(r.randint(0, 5))], [1] * 70, [0, 2**62, 4], {}))
            if r.random() < 0.5:  # so that the sizes agree and the rest is looked at
                start, end = entry["data_offsets"] if isinstance(entry["data_offsets"], list) else (0, 0)
                entry["shape"] = [1] * r.choice((1, 31, 33, 64, 65, 200)) + [(end - start) // 4]
        elif kind == "offsets":
            ends = [r.choice((*NUMBERS, -1, len(data), len(data) + 1, r.randrange(len(data) + 1))) for _ in range(2)]
            entry["data_offsets"] = r.choice((ends, sorted(ends), ends[:1], "no", None))
        elif kind == "entry":
            header[r.choice(list(header))] = r.choice(({}, [], None, 1, "x", {"dtype": "F32"}, dict(entry)))
        elif kind == "key":
            names = ("", "\x00", "a" * 9999, "é\ud800", "__metadata__", "classifier.bias\n", "model/x", "module.x")
            header[r.choice(names)] = r.choice((dict(entry), {"a": "b"}, {"a": 1}))
        else:
            one, other = r.choice(list(header)), r.choice(list(header))
            header[one], header[other] = header[other], header[one]
        header = {name: dict(e) if isinstance(e, dict) and "dtype" in e else e for name, e in header.items()}
        if not all(isinstance(e, dict) and "data_offsets" in e for name, e in header.items() if name != "__metadata__"):
            break  # there is enough amiss
    text = json.dumps(header).encode()
    odd = r.random()
    if odd < 0.1:
        text = r.choice(
            (b"{" * 9999, b"[" * 9999, b'{"a":' * 9999, b"{}", b"{", b"", text + b" " * 99, text * 2, b"{\xff}")
        )
    length = r.choice((*NUMBERS, 100_000_000, 100_000_001)) if 0.1 < odd < 0.15 else None
    whole = safetensors_file(text, r.choice((data, data, data, data[:-1], data + b"\x00", b"")), length)
    return damaged(r, whole) if r.random() < 0.1 else whole


# -- PyTorch's files -----------------------------------------------------------------------------------------------


def pickled(state: dict[str, np.ndarray]) -> tuple[bytes, dict[str, bytes]]:
    """The description of the tensors, and the storages, as `write_torch_file` has them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w.pth"
        torch_writer.write_torch_file(path, state)
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.startswith("archive/data/")]
            return archive.read("archive/data.pkl"), {name.rpartition("/")[2]: archive.read(name) for name in names}


PICKLE, STORAGES = pickled(ARRAYS)
LEGACY_HEAD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + b"\x80\x02M\xe9\x03." + b"\x80\x02}."

# Pieces of pickles that do no harm alone: containers, references, names, lengths that promise much.
PIECES = [
    *(b"}", b"]", b")", b"(", b"t", b"u", b"s", b"a", b"e", b"\x85", b"\x86", b"\x87", b"N", b"\x88", b"R", b"b", b"Q"),
    *(b"q\x00", b"q\x01", b"h\x00", b"h\x01", b"\x94", b"0", b"1", b"2", b".", b"\x93", b"\x90", b"\x8f", b"\x81"),
    *(b"K\x01", b"J\xff\xff\xff\x7f", b"J\xff\xff\xff\xff", b"\x8a\xff" + b"\x7f" * 255, b"G" + b"\x7f" * 8, b"I99\n"),
    *(b"X\x01\x00\x00\x00a", b"X\xff\xff\xff\xff", b"\x8d" + b"\xff" * 7 + b"\x7f", b"\x8e" + b"\x00" * 7 + b"\x01"),
    *(b"\x8b\xff\xff\xff\x7f", b"B\xff\xff\xff\xff", b"\x96" + b"\xff" * 7 + b"\x7f", b"L" + b"9" * 5000 + b"L\n"),
    *(b"cos\nsystem\n", b"ctorch\nFloatStorage\n", b"ccollections\nOrderedDict\n", b"ctorch\nSize\n", b"cx\n"),
    *(b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_parameter\n", b"ibuiltins\neval\n"),
    *(b"\x85" * 3000, b"]" * 3000, b"(" * 3000, b"h\x00\x86" * 40, b"}q\x00h\x00h\x00s", b"]q\x00h\x00a", b"\x82\x01"),
    *(b"}" + b")" + b"\x85" * 2000 + b"Ns", b"}" + b")" + b"q\x05h\x05\x86" * 60 + b"Ns"),
]  # fmt: skip


def mutated_pickle(r: random.Random) -> bytes:
    """The description with pieces put in or exchanged, or one of nothing but pieces."""
    if r.random() < 0.1:
        return b"\x80\x02" + b"".join(r.choices(PIECES, k=r.randint(1, 12))) + b"."
    data = PICKLE
    for _ in range(r.choice((1, 1, 2, 5))):
        at = r.randrange(2, len(data))
        kind = r.random()
        if kind < 0.4:
            data = data[:at] + r.choice(PIECES) + data[at:]
        elif kind < 0.6:
            data = data[:at] + r.choice(PIECES) + data[at + r.randint(1, 12) :]
        elif kind < 0.8:  # one of the numbers: sizes, strides, offsets and lengths
            numbers = [i for i in range(len(data) - 5) if data[i : i + 1] == b"J"]
            if numbers:
                at = r.choice(numbers)
                new = r.choice((-1, *NUMBERS))
                piece = b"J" + struct.pack("<i", new) if new < 2**31 else b"\x8a\x09" + new.to_bytes(9, "little")
                data = data[:at] + piece + data[at + 5 :]
        else:
            data = damaged(r, data)
    return data


def archive_of(r: random.Random, description: bytes, storages: dict[str, bytes]) -> bytes:
    """A zip file with checksums that fit, and sometimes with what `torch.save` never does."""
    file = io.BytesIO()
    odd = r.choice(("no", "no", "no", "deflated", "twice", "order", "folder", "missing", "resized", "empty"))
    method = zipfile.ZIP_DEFLATED if odd == "deflated" else zipfile.ZIP_STORED
    if odd == "missing":
        storages = dict(list(storages.items())[1:])
    if odd == "resized":
        storages = {key: r.choice((data, data[:-1], data * 2, bytes(1 << 12))) for key, data in storages.items()}
    if odd == "empty":
        storages = {}
    with zipfile.ZipFile(file, "w", method) as archive:
        folder = r.choice(("", "a/b/", "../", "/")) if odd == "folder" else "archive/"
        archive.writestr(f"{folder}data.pkl", description)
        if odd == "order":
            archive.writestr(f"{folder}byteorder", r.choice((b"big", b"", b"middle", bytes(99))))
        for key, data in storages.items():
            archive.writestr(f"{folder}data/{key}", bytes(1 << 20) if odd == "deflated" else data)
        if odd == "twice":
            archive.filelist.append(archive.filelist[0])  # named in the directory twice
    return file.getvalue()


def mutated_zip(r: random.Random) -> bytes:
    if r.random() < 0.3:
        return damaged(r, archive_of(random.Random(0), PICKLE, STORAGES))
    whole = archive_of(r, mutated_pickle(r) if r.random() < 0.8 else PICKLE, STORAGES)
    if r.random() < 0.2:  # in the directory at the end: sizes, places, flags, methods
        at = whole.find(b"PK\x01\x02")
        whole = whole[:at] + damaged(r, whole[at:])
    return whole


def mutated_legacy(r: random.Random) -> bytes:
    keys = list(STORAGES)
    listed = b"\x80\x02](" + b"".join(torch_writer._text(key) for key in keys) + b"e."
    if r.random() < 0.2:
        listed = b"\x80\x02" + r.choice(PIECES) + listed[2:]
    numbers = b"".join(struct.pack("<q", array.size) + array.tobytes() for array in ARRAYS.values())
    whole = LEGACY_HEAD + (mutated_pickle(r) if r.random() < 0.6 else PICKLE) + listed + numbers
    return damaged(r, whole) if r.random() < 0.5 else whole


MUTATORS: dict[str, tuple[str, Mutator]] = {
    "safetensors": ("w.safetensors", mutated_safetensors),
    "zip": ("w.pth", mutated_zip),
    "legacy": ("w.pth", mutated_legacy),
}


def limit_memory() -> None:
    """Let the system refuse what goes much beyond what is in use; where there is such a limit (not on macOS)."""
    try:
        import resource

        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        return
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MARGIN, resource.getrlimit(resource.RLIMIT_AS)[1]))


def main(kind: str, seed: int, count: int) -> int:
    name, mutate = MUTATORS[kind]
    model = network()
    state = model.state_dict()
    before = {key: tensor.numpy().copy() for key, tensor in state.items()}
    found: Counter[str] = Counter()
    largest = 0
    limit_memory()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        for i in range(seed, seed + count):
            path.write_bytes(mutate(random.Random(f"{kind} {i}")))
            tracemalloc.start()
            try:
                weights.describe(path)
                weights.load(model, path)
            except weights.WeightsError as error:
                found["refused"] += 1
                assert path.name in str(error), f"seed {i}: {error}"
                for key, tensor in state.items():
                    assert np.array_equal(tensor.array, before[key]), f"seed {i}: {key} was changed by a refused file"
            except BaseException:
                print(f"python {sys.argv[0]} {kind} {i} 1 repeats what follows", file=sys.stderr)
                raise
            else:
                found["loaded"] += 1
                for key, array in before.items():
                    state[key].array[...] = array
            finally:
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
            assert peak < PEAK, f"seed {i}: {peak} bytes for a file of {path.stat().st_size}"
            largest = max(largest, peak)
    print(json.dumps({**found, "peak": largest}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
