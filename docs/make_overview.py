"""Draw docs/images/overview.png: samples of the synthetic cars above the curves of a run.

python docs/make_overview.py runs/<name>
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))

from tinygrad_effnet.data import SyntheticCars, contact_sheet
from tinygrad_effnet.training.files import atomic_write


def main() -> None:
    sheet = contact_sheet(SyntheticCars("train", size=96), columns=8)
    with Image.open(Path(sys.argv[1]) / "curves.png") as picture:
        curves = picture.convert("RGB")
    curves = curves.resize((sheet.width, round(curves.height * sheet.width / curves.width)), Image.Resampling.LANCZOS)
    overview = Image.new("RGB", (sheet.width, sheet.height + curves.height), "white")
    overview.paste(sheet, (0, 0))
    overview.paste(curves, (0, sheet.height))
    data = io.BytesIO()
    overview.quantize(256).save(data, "PNG", optimize=True)
    target = Path(__file__).parent / "images" / "overview.png"
    target.parent.mkdir(exist_ok=True)
    atomic_write(target, lambda file: file.write(data.getvalue()))
    print(target, len(data.getvalue()), "bytes")


if __name__ == "__main__":
    main()
