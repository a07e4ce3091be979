"""Compile every CUDA kernel for every architecture, and write what they need of a device to docs/kernels.md.

python docs/make_kernel_table.py            compile the families that have changed, and write the page
python docs/make_kernel_table.py --check    compile all of them, and say whether the page is up to date

Needs no GPU and no driver, but the extra [nvrtc].
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tinygrad_effnet.backends.cupy import depthwise, offline
from tinygrad_effnet.backends.cupy.instances import FAMILIES
from tinygrad_effnet.backends.cupy.launch import OPTIONS, STORED, declarations, source
from tinygrad_effnet.backends.cupy.layout import THREADS
from tinygrad_effnet.files import atomic_write

PAGE = Path(__file__).with_name("kernels.md")
HEAD = """# What the CUDA kernels need of a device

Every kernel in `backends/cupy/kernels/`, compiled for float32 / float64 / float16 / bfloat16 on {architectures} by
{compiler}, without a GPU. Registers are those of a thread, the most that any instance of the kernel needs; up to 64,
1024 threads fit a multiprocessor at once, up to 128, 512 do. Shared memory is that of a block, beside what a launch
adds for tiles of depthwise convolution ({tile} KiB of float32 at most). A kernel with one number handles bytes alone.

*Reads* is the widest read of memory, in bytes, that the quickest instance of a kernel has: 16 where numbers that lie
side by side come several at a time. *Occupancy* is the share of a multiprocessor's threads that blocks of {threads}
keep on an sm_90 at once, with the registers and shared memory that the neediest instance takes; we launch such blocks.

The page is written by `python docs/make_kernel_table.py`; a test fails where a kernel has changed since.

"""

Found = dict[tuple[str, str, str], dict[str, offline.Resources]]  # by family, dtype and architecture


def fingerprint(family: str) -> str:
    """Tells one text of a family's kernels from another."""
    return hashlib.sha256("\n".join([source(family), *OPTIONS]).encode()).hexdigest()[:12]


def compile_all(families: Iterable[str] = FAMILIES) -> Found:
    """Every instance of every kernel for every dtype and architecture, on all cores."""
    keys = [(f, dtype, architecture) for f in families for dtype in STORED for architecture in offline.ARCHITECTURES]
    with ProcessPoolExecutor() as pool:
        results = list(pool.map(offline.compile_family, *zip(*keys, strict=True)))
    return dict(zip(keys, results, strict=True))


def kept(text: str) -> dict[str, list[str]]:
    """The lines of the page about each family that has not changed since, if the compiler has not either."""
    if f"{offline.compiler()}, without" not in text.replace("\n", " "):
        return {}
    lines = text.splitlines()
    return {
        family: [line for line in lines if line.startswith((f"| `{family}/", f"* `{family}/"))]
        for family in FAMILIES
        if _heading(family) in lines
    }


def lines_of(found: Found, family: str) -> list[str]:
    """What the page says of a family: a row for each kernel, a line for each instance that spills."""
    spilled = [
        f"* `{family}/{name}` on {architecture}: {r.spilled} bytes written and read, {r.stack} of stack"
        for (of, _, architecture), kernels in found.items()
        for name, r in kernels.items()
        if of == family and (r.spilled or r.stack)
    ]
    return [*[_row(found, family, name) for name in declarations(family)], *spilled]


def page(families: dict[str, list[str]]) -> str:
    """The text of the page, from the lines of each family."""
    head = HEAD.format(
        architectures=", ".join(offline.ARCHITECTURES),
        compiler=offline.compiler(),
        tile=depthwise.TILE * 4 // 1024,
        threads=THREADS,
    )
    lines = [
        f"| kernel | instances | shared, bytes | {' | '.join(offline.ARCHITECTURES)} | reads | occupancy, % |",
        f"|---|---|---|{'---|' * len(offline.ARCHITECTURES)}---|---|",
    ]
    for family in FAMILIES:
        lines += [_heading(family), *[line for line in families[family] if line.startswith("|")]]
    spilled = [line for family in FAMILIES for line in families[family] if line.startswith("*")]
    ends = (
        ["Registers that did not fit and went to memory:", "", *spilled] if spilled else ["No kernel spills registers."]
    )
    return head + "\n".join([*lines, "", *ends]) + "\n"


def _heading(family: str) -> str:
    return f"| **{family}** | `{fingerprint(family)}` | |{' |' * len(offline.ARCHITECTURES)} | |"


def _row(found: Found, family: str, name: str) -> str:
    def of(dtype: str, architecture: str) -> list[offline.Resources]:
        kernels = found[family, dtype, architecture]
        return [r for expression, r in kernels.items() if expression.split("<")[0] == name]

    number = sum(len(of(dtype, offline.ARCHITECTURES[0])) for dtype in STORED)
    shared = max(r.shared for a in offline.ARCHITECTURES for dtype in STORED for r in of(dtype, a))
    cells = [
        " / ".join(str(max(r.registers for r in of(d, a))) for d in STORED if of(d, a)) for a in offline.ARCHITECTURES
    ]
    newest = offline.ARCHITECTURES[-1]
    stored = [dtype for dtype in STORED if of(dtype, newest)]
    reads = " / ".join(str(max(r.access for r in of(dtype, newest))) for dtype in stored)
    least = [
        min(offline.occupancy(newest, THREADS, r.registers, r.shared + _tile(name, dtype)) for r in of(dtype, newest))
        for dtype in stored
    ]
    cells += [reads, " / ".join(f"{share:.0%}".rstrip("%") for share in least)]
    return f"| `{family}/{name}` | {number} | {shared} | {' | '.join(cells)} |"


def _tile(name: str, dtype: str) -> int:
    """Bytes of shared memory that a launch adds."""
    return depthwise.TILE * (8 if dtype == "float64" else 4) if name.startswith("depthwise_") else 0


def main() -> None:
    check = "--check" in sys.argv
    before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    known = {} if check else kept(before)
    changed = [family for family in FAMILIES if family not in known]
    found = compile_all(changed) if changed else {}
    text = page({family: known.get(family) or lines_of(found, family) for family in FAMILIES})
    if not check:
        atomic_write(PAGE, lambda file: file.write(text.encode()))
    elif before != text:
        sys.exit(f"{PAGE.name} is out of date: run python docs/make_kernel_table.py")


if __name__ == "__main__":
    main()
