"""Gather the page on which the engine runs in the browser: python docs/make_live.py FOLDER [--home URL].

Python and NumPy for the browser come from the npm registry (`npm pack`), each held to the checksum below; the engine is
the wheel that is built of this checkout. Everything lies in FOLDER afterwards, so that the page asks no other host for
anything. A browser loads it from a server, not from `file://`: python -m http.server --directory FOLDER.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))


class Package(NamedTuple):
    """A package of the npm registry, and the SHA-256 of its archive."""

    name: str
    version: str
    sha256: str

    def archive(self, folder: Path) -> Path:
        """Its archive in the folder, fetched if it is not there."""
        path = folder / f"{self.name.strip('@').replace('/', '-')}-{self.version}.tgz"
        if not path.is_file():
            with tempfile.TemporaryDirectory(dir=folder) as temporary:
                command = ["npm", "pack", "--silent", "--pack-destination", temporary, f"{self.name}@{self.version}"]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                (fetched,) = Path(temporary).iterdir()
                os.replace(fetched, path)
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != self.sha256:
            raise SystemExit(f"{path}: its SHA-256 is {found}, expected {self.sha256}; remove the file and try again")
        return path


# NumPy must be built for the very Python and Emscripten (3.1.58) of the Pyodide beside it
PYODIDE = Package("pyodide", "0.27.7", "89d5d952675eb08e11286e52c7238f1248ce71726e896db9703e73bef23dc343")
NUMPY = Package(
    "@emscripten-forge/numpy",
    "2.0.1-py312h4e66579-0",
    "7c6dab4b681b15286f10ab9972147f599d91df4ea881f61fb58ad39349423d84",
)
NUMPY_WHEEL = "numpy-2.0.1-cp312-cp312-pyodide_2024_0_wasm32.whl"
OF_PYODIDE = ("pyodide.mjs", "pyodide.asm.js", "pyodide.asm.wasm", "pyodide-lock.json", "python_stdlib.zip")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--home", default="../index.html", help="where the page's link to the documentation leads")
    options = parser.parse_args()
    if shutil.which("npm") is None:
        raise SystemExit("make_live.py needs npm, which fetches Python for the browser: apt-get install npm")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tinygrad_effnet" / "live"
    cache.mkdir(parents=True, exist_ok=True)
    options.folder.mkdir(parents=True, exist_ok=True)
    copy_page(options.folder, options.home)
    copy_pyodide(PYODIDE.archive(cache), options.folder / "pyodide")
    copy_numpy(NUMPY.archive(cache), options.folder / NUMPY_WHEEL)
    files = {"numpy": NUMPY_WHEEL, "engine": build_wheel(options.folder)}
    (options.folder / "files.json").write_text(json.dumps(files))


def copy_page(folder: Path, home: str) -> None:
    """The page, its scripts, and the programs to begin with."""
    for name in ("live.css", "live.mjs", "worker.mjs", "engine.mjs"):
        shutil.copyfile(DOCS / "live" / name, folder / name)
    script, style = hashes_of_steps()
    filled = {"SCRIPT_HASH": script, "STYLE_HASH": style, "HOME": html.escape(home)}
    page = (DOCS / "live" / "index.html").read_text(encoding="utf-8")
    (folder / "index.html").write_text(re.sub("@@(.*?)@@", lambda found: filled[found[1]], page), encoding="utf-8")
    programs = sorted((DOCS / "live" / "programs").glob("*.py"))
    shutil.rmtree(folder / "programs", ignore_errors=True)
    shutil.copytree(DOCS / "live" / "programs", folder / "programs", ignore=shutil.ignore_patterns("__pycache__"))
    titles = [[path.name, path.read_text(encoding="utf-8").split("\n")[0].lstrip("# ")] for path in programs]
    (folder / "programs" / "index.json").write_text(json.dumps(titles), encoding="utf-8")


def hashes_of_steps() -> list[str]:
    """What the stepper's page may run and be styled by: a frame is held to the rules of the page around it as well."""
    import tinygrad_effnet as tg

    with tg.stepper.record() as run:
        tg.Tensor(1.0) + 1.0
    with tempfile.TemporaryDirectory() as temporary:
        policy = run.page(Path(temporary) / "page.html").read_text(encoding="utf-8").split("\n")[4]
    return re.findall("'sha256-[^']*'", policy)


def copy_pyodide(archive: Path, folder: Path) -> None:
    """Python itself, without what only its console and its types need."""
    folder.mkdir(exist_ok=True)
    with tarfile.open(archive) as tar:
        for name in OF_PYODIDE:
            member = tar.extractfile(f"package/{name}")
            assert member is not None
            (folder / name).write_bytes(member.read())


def copy_numpy(archive: Path, wheel: Path) -> None:
    """NumPy as a wheel, without its tests: the registry's package holds one of conda, an archive in the archive."""
    with tarfile.open(archive) as outer:
        (inner,) = [member for member in outer if member.name.endswith(".tar.gz")]
        with (
            tarfile.open(fileobj=outer.extractfile(inner)) as tar,
            zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as out,
        ):
            for member in tar:
                _, found, name = member.name.partition("site-packages/")
                if found and member.isfile() and "/tests/" not in name:
                    out.writestr(name, tar.extractfile(member).read())  # type: ignore[union-attr]


def build_wheel(folder: Path) -> str:
    """The engine's wheel, which must be pure: any other could not run in a browser."""
    for old in folder.glob("tinygrad_effnet-*.whl"):
        old.unlink()
    with tempfile.TemporaryDirectory() as temporary:
        # out of a copy, because setuptools leaves its build/ in the source
        source = Path(temporary) / "source"
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(DOCS.parent / "tinygrad_effnet", source / "tinygrad_effnet", ignore=ignore)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copyfile(DOCS.parent / name, source / name)
        command = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--wheel-dir",
            str(folder),
            str(source),
        ]
        subprocess.run(command, check=True)
    (wheel,) = folder.glob("tinygrad_effnet-*.whl")
    if not wheel.name.endswith("-py3-none-any.whl"):
        raise SystemExit(f"the wheel {wheel.name} is not pure; a browser cannot run it")
    return wheel.name


if __name__ == "__main__":
    main()
