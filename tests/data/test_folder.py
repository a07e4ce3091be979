from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinygrad_effnet.data import DatasetError, ImageFolder, ImageReadError


def _save(path: Path, colour: tuple[int, int, int] = (200, 30, 60), size: tuple[int, int] = (12, 9)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, count in (("saloon", 3), ("estate", 2)):
        for i in range(count):
            _save(tmp_path / name / f"{i}.png", (40 * i, 0, 0))
    return tmp_path


def test_classes_and_files_are_sorted(root: Path):
    dataset = ImageFolder(root)
    assert dataset.class_names == ["estate", "saloon"]
    assert dataset.labels.tolist() == [0, 0, 1, 1, 1]
    assert dataset.labels.dtype == np.int64
    assert [p.name for p in dataset.paths] == ["0.png", "1.png", "0.png", "1.png", "2.png"]
    picture, label = dataset[4]
    assert picture.shape == (9, 12, 3)
    assert picture[0, 0].tolist() == [80, 0, 0]
    assert label == 1


def test_hidden_files_and_other_files_are_ignored_without_a_warning(root: Path, recwarn: pytest.WarningsRecorder):
    _save(root / "saloon" / ".hidden.png")
    _save(root / ".cache" / "x.png")
    (root / "saloon" / "Thumbs.db").write_bytes(b"\0\1\2")
    (root / "saloon" / "notes.txt").write_text("notes")
    (root / "README.md").write_text("about")
    assert len(ImageFolder(root)) == 5
    assert not recwarn.list


def test_an_image_without_a_suffix_counts(root: Path):
    _save(root / "saloon" / "9.png").rename(root / "saloon" / "nine")
    assert len(ImageFolder(root)) == 6


def test_unreadable_files_are_left_out_with_one_warning_that_names_them(root: Path):
    (root / "saloon" / "bad.jpg").write_bytes(b"not an image")
    (root / "estate" / "worse.png").write_bytes((root / "estate" / "0.png").read_bytes()[:40])
    with pytest.warns(UserWarning, match="2 unreadable image file") as caught:
        dataset = ImageFolder(root)
    assert len(caught) == 1
    assert "bad.jpg" in str(caught[0].message)
    assert "worse.png" in str(caught[0].message)
    assert len(dataset) == 5
    assert len(dataset.unreadable) == 2
    assert "2 unreadable" in dataset.describe()


def test_strict_raises_on_the_first(root: Path):
    (root / "saloon" / "bad.jpg").write_bytes(b"not an image")
    with pytest.raises(ImageReadError, match="bad.jpg"):
        ImageFolder(root, strict=True)


def test_formats_that_are_not_read_are_reported(root: Path):
    Image.new("RGB", (5, 5)).save(root / "saloon" / "a.gif")
    with pytest.warns(UserWarning, match="a.gif: not a readable JPEG/PNG/WEBP/BMP file"):
        ImageFolder(root)


def test_a_file_that_breaks_later_is_named(root: Path):
    dataset = ImageFolder(root)
    dataset.paths[1].write_bytes(b"overwritten")
    with pytest.raises(ImageReadError, match=r"estate.1\.png"):
        dataset[1]


def test_pixel_limit(root: Path):
    _save(root / "saloon" / "big.png", size=(50, 50))
    with pytest.warns(UserWarning, match="big.png: 50x50 pixels are more than the limit of 1,000"):
        assert len(ImageFolder(root, max_pixels=1000)) == 5


def test_empty_class(root: Path):
    (root / "coupe").mkdir()
    with pytest.raises(DatasetError, match="class folder .*coupe is empty: no images in it"):
        ImageFolder(root)


@pytest.mark.filterwarnings("ignore:1 unreadable")
def test_class_with_broken_images_only(root: Path):
    (root / "coupe").mkdir()
    (root / "coupe" / "a.jpg").write_bytes(b"x")
    with pytest.raises(DatasetError, match="all unreadable: .*a.jpg"):
        ImageFolder(root)


def test_doubled_folder_says_so(tmp_path: Path):
    _save(tmp_path / "car_data" / "saloon" / "a.png")
    with pytest.raises(DatasetError, match="only the folders saloon; pass their parent as root"):
        ImageFolder(tmp_path)


def test_missing_folder(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no such folder: .*nowhere"):
        ImageFolder(tmp_path / "nowhere")


def test_a_file_for_a_root(root: Path):
    with pytest.raises(NotADirectoryError, match="is a file, expected a folder"):
        ImageFolder(root / "saloon" / "0.png")


def test_images_without_class_folders(tmp_path: Path):
    _save(tmp_path / "a.png")
    _save(tmp_path / "b.png")
    with pytest.raises(DatasetError, match=r"2 image\(s\) but no class folders; expected one folder for each class"):
        ImageFolder(tmp_path)


def test_nothing_at_all(tmp_path: Path):
    with pytest.raises(DatasetError, match="no class folders"):
        ImageFolder(tmp_path)


def test_chosen_classes(root: Path):
    dataset = ImageFolder(root, classes=["saloon"])
    assert dataset.class_names == ["saloon"]
    assert dataset.labels.tolist() == [0, 0, 0]
    with pytest.raises(DatasetError, match="no folder for 'lorry'; it has estate, saloon"):
        ImageFolder(root, classes=["lorry"])
    with pytest.raises(DatasetError, match="each once"):
        ImageFolder(root, classes=["saloon", "saloon"])
    with pytest.raises(DatasetError, match="at least one name"):
        ImageFolder(root, classes=[])


def test_describe(root: Path):
    _save(root / "saloon" / "wide.png", size=(100, 5))
    report = ImageFolder(root).describe()
    assert "6 images of 2 classes, 12x5 to 100x9 pixels" in report
    assert "saloon       4" in report
