from __future__ import annotations

from pathlib import Path

import pytest

from tinygrad_effnet.data import DatasetError, open_data


def test_labels_counted_from_0_are_recognised(tmp_path: Path, forms, rows):
    forms["tables_with_header"](tmp_path)
    table = tmp_path / "anno_train.csv"
    lines = table.read_text().splitlines()
    shifted = [lines[0]] + [f"{line[:-1]}{int(line[-1]) - 1}" for line in lines[1:]]
    table.write_text("\n".join(shifted))
    (tmp_path / "anno_test.csv").unlink()
    split = open_data(tmp_path, val_fraction=0.5)
    assert split.class_names == ["class 000", "class 001", "class 002"]
    assert sorted([*split.train.labels, *split.val.labels]) == sorted(label - 1 for _, _, label in rows[0])


def test_class_folders_give_names_where_no_table_does(tmp_path: Path, forms):
    forms["tables"](tmp_path)
    (tmp_path / "names.csv").unlink()
    assert open_data(tmp_path).class_names[1] == "Ram C-V Cargo Van Minivan 2012"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no rows"),
        ("image,x,y\n1.jpg,2,3\n", "first row is image,x,y; expected six columns"),
        ("00001.jpg,1,2,3,4,1\n00002.jpg,1,2,3,4\n", "row 2: got 00002.jpg,1,2,3,4, expected a file name and five"),
        ("00001.jpg,1,2,3,4,1\n00002.jpg,a,2,3,4,1\n", "row 2"),
        ("00001.jpg,1,2,3,4,900\n", "names 3 classes, but the tables have 900"),
        ("\udcff", "not a readable table"),
    ],
)
def test_tables_with_faults_are_named(tmp_path: Path, forms, text: str, words: str):
    forms["tables"](tmp_path)
    (tmp_path / "anno_train.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DatasetError, match=words) as caught:
        open_data(tmp_path)
    assert ".csv" in str(caught.value)


def test_one_name_for_two_files_is_refused(tmp_path: Path, forms):
    forms["tables"](tmp_path)
    path = next(tmp_path.rglob("train/*/00001.jpg"))
    other = path.parents[1] / "AM General Hummer SUV 2000" / "00001.jpg"
    other.write_bytes(path.read_bytes())
    with pytest.raises(DatasetError, match="there are 2 such files"):
        open_data(tmp_path)
    table = tmp_path / "anno_train.csv"
    table.write_text(table.read_text().replace("00001.jpg", f"{path.parent.name}/00001.jpg"))
    assert open_data(tmp_path).train.source(0) == str(path)


def test_a_table_cannot_lead_out_of_its_folder(tmp_path: Path, forms):
    forms["tables"](tmp_path)
    (tmp_path / "secret.jpg").write_bytes(next(tmp_path.rglob("00001.jpg")).read_bytes())
    table = tmp_path / "anno_train.csv"
    table.write_text(table.read_text().replace("00001.jpg", "../../../secret.jpg"))
    with pytest.warns(UserWarning, match=r"train.secret\.jpg: no such file"):
        assert len(open_data(tmp_path).train) == 3
