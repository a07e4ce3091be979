from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from tinygrad_effnet.training.metrics import (
    ConfusionMatrix,
    RunningMean,
    accuracy,
    classification_report,
    macro_f1,
    top_k_accuracy,
)


@st.composite
def labelled(draw: st.DrawFn) -> tuple[int, np.ndarray, np.ndarray]:
    """A number of classes, targets and predictions; often with classes that are missing on one or both sides."""
    num_classes = draw(st.integers(1, 12))
    label = st.integers(0, num_classes - 1)
    pairs = draw(st.lists(st.tuples(label, label), min_size=1, max_size=60))
    targets, predictions = np.array(pairs).T
    return num_classes, targets, predictions


def counted(num_classes: int, targets: np.ndarray, predictions: np.ndarray) -> ConfusionMatrix:
    confusion = ConfusionMatrix(num_classes)
    confusion.update(targets, predictions)
    return confusion


@pytest.mark.filterwarnings("ignore:A single label was found:UserWarning")
@given(labelled())
def test_counts_and_scores_equal_scikit_learn(case: tuple[int, np.ndarray, np.ndarray]) -> None:
    num_classes, targets, predictions = case
    confusion = counted(*case)
    labels = list(range(num_classes))
    expected = sklearn_metrics.confusion_matrix(targets, predictions, labels=labels)
    assert confusion.matrix.dtype == np.int64
    np.testing.assert_array_equal(confusion.matrix, expected)
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        targets, predictions, labels=labels, zero_division=0
    )
    np.testing.assert_allclose(confusion.precision(), precision, rtol=1e-12)
    np.testing.assert_allclose(confusion.recall(), recall, rtol=1e-12)
    np.testing.assert_allclose(confusion.f1(), f1, rtol=1e-12)
    np.testing.assert_array_equal(confusion.support, support)


@given(labelled())
def test_macro_f1_equals_scikit_learn_with_and_without_labels(case: tuple[int, np.ndarray, np.ndarray]) -> None:
    _, targets, predictions = case
    present = np.union1d(targets, predictions)
    by_default = sklearn_metrics.f1_score(targets, predictions, average="macro", zero_division=0)
    by_label = sklearn_metrics.f1_score(targets, predictions, average="macro", labels=present, zero_division=0)
    assert counted(*case).macro_f1() == pytest.approx(by_default, rel=1e-12, abs=1e-15)
    assert counted(*case).macro_f1() == pytest.approx(by_label, rel=1e-12, abs=1e-15)
    assert macro_f1(targets, predictions) == pytest.approx(by_default, rel=1e-12, abs=1e-15)


@given(labelled())
def test_accuracy_equals_scikit_learn(case: tuple[int, np.ndarray, np.ndarray]) -> None:
    _, targets, predictions = case
    expected = sklearn_metrics.accuracy_score(targets, predictions)
    assert accuracy(targets, predictions) == pytest.approx(expected, rel=1e-12)
    assert counted(*case).accuracy() == pytest.approx(expected, rel=1e-12)


@given(labelled(), st.integers(1, 7))
def test_batches_add_up_to_the_whole_set(case: tuple[int, np.ndarray, np.ndarray], size: int) -> None:
    num_classes, targets, predictions = case
    batched = ConfusionMatrix(num_classes)
    for start in range(0, len(targets), size):
        batched.update(targets[start : start + size], predictions[start : start + size])
    np.testing.assert_array_equal(batched.matrix, counted(*case).matrix)


def test_macro_f1_by_hand_with_an_absent_class() -> None:
    # Class 3 never occurs; class 2 occurs only as a prediction and scores 0.
    confusion = counted(4, np.array([0, 0, 1, 1]), np.array([0, 1, 1, 2]))
    np.testing.assert_allclose(confusion.f1(), [2 / 3, 1 / 2, 0, 0])
    np.testing.assert_array_equal(confusion.present, [True, True, True, False])
    assert confusion.macro_f1() == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)


def test_macro_f1_is_not_the_mean_over_batches() -> None:
    targets = np.arange(196)
    whole = ConfusionMatrix(196)
    for start in range(0, 196, 32):
        whole.update(targets[start : start + 32], targets[start : start + 32])
    assert whole.macro_f1() == 1.0
    assert counted(196, targets[:32], targets[:32]).f1().mean() == pytest.approx(32 / 196)


def test_macro_f1_of_large_labels_needs_no_large_matrix() -> None:
    assert macro_f1([10**9, 5], [10**9, 5]) == 1.0


def test_matrix_is_a_copy_and_reset_clears() -> None:
    confusion = counted(2, np.array([0, 1]), np.array([0, 1]))
    confusion.matrix[0, 0] = 99
    assert confusion.matrix[0, 0] == 1
    confusion.reset()
    assert confusion.total == 0


def test_rows_are_true_classes_and_columns_predictions() -> None:
    assert counted(3, np.array([2]), np.array([0])).matrix[2, 0] == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64])
def test_narrow_label_types_do_not_overflow(dtype: type) -> None:
    labels = np.array([195, 194, 195], dtype=dtype)
    confusion = counted(196, labels, labels)
    assert confusion.matrix[195, 195] == 2
    assert confusion.macro_f1() == 1.0


def test_an_empty_batch_counts_nothing_and_scores_need_samples() -> None:
    confusion = ConfusionMatrix(3)
    confusion.update([], [])
    assert confusion.total == 0
    for score in (confusion.accuracy, confusion.macro_f1):
        with pytest.raises(ValueError, match=r"no samples.*update"):
            score()
    for function in (accuracy, macro_f1):
        with pytest.raises(ValueError, match="sample"):
            function([], [])


@pytest.mark.parametrize(
    ("targets", "predictions", "error", "message"),
    [
        ([1, 3], [0, 0], ValueError, r"targets: label 3 at position 1 must be in 0\.\.2 .*1-based"),
        ([0, 1], [9, 0], ValueError, r"predictions: label 9 at position 0.*num_classes too small"),
        ([0, -1], [0, 0], ValueError, r"targets: label -1 at position 1.*Negative"),
        ([0, 1], [0], ValueError, r"same number of samples, got 2 and 1"),
        ([0, 1], [0.0, 1.0], TypeError, r"predictions: expected integer.*float64.*argmax"),
        ([0, 1], [True, False], TypeError, r"predictions: expected integer.*bool"),
        ([0, 1], [[0, 1], [1, 0]], ValueError, r"predictions: .*shape \(2, 2\).*argmax"),
    ],
)
def test_bad_labels_are_named_and_leave_the_counts_alone(
    targets: list, predictions: list, error: type[Exception], message: str
) -> None:
    confusion = ConfusionMatrix(3)
    with pytest.raises(error, match=message):
        confusion.update(targets, predictions)
    assert confusion.total == 0


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-2, ValueError), (2.0, TypeError), (True, TypeError)])
def test_bad_number_of_classes(value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="num_classes"):
        ConfusionMatrix(value)  # type: ignore[arg-type]


@given(st.integers(0, 2**32 - 1), st.integers(3, 9), st.integers(1, 30), st.data())
def test_top_k_equals_scikit_learn(seed: int, num_classes: int, count: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, num_classes - 1))
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((count, num_classes))
    targets = rng.integers(0, num_classes, count)
    expected = sklearn_metrics.top_k_accuracy_score(targets, logits, k=k, labels=np.arange(num_classes))
    assert top_k_accuracy(logits, targets, k) == pytest.approx(expected, rel=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 30))
def test_top_1_is_argmax_accuracy_even_with_ties_and_top_all_is_one(seed: int, num_classes: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.integers(0, 3, (count, num_classes))
    targets = rng.integers(0, num_classes, count)
    assert top_k_accuracy(logits, targets, 1) == accuracy(targets, logits.argmax(axis=1))
    assert top_k_accuracy(logits, targets, num_classes) == 1.0


def test_top_k_of_equal_scores_is_chance_and_nan_is_a_miss() -> None:
    targets = np.arange(10)
    assert top_k_accuracy(np.zeros((10, 10)), targets, 5) == 0.5
    logits = np.eye(10)
    logits[3, 3] = np.nan
    assert top_k_accuracy(logits, targets, 10) == 0.9


@pytest.mark.parametrize(
    ("logits", "targets", "k", "error", "message"),
    [
        (np.zeros((2, 3)), [0, 1], 4, ValueError, r"k: expected 1\.\.3"),
        (np.zeros((2, 3)), [0, 1], 0, ValueError, r"k: expected 1\.\.3"),
        (np.zeros((2, 3)), [0, 3], 1, ValueError, r"1-based"),
        (np.zeros((2, 3)), [0], 1, ValueError, r"expected 2 labels"),
        (np.zeros(3), [0], 1, ValueError, r"logits: .*\(3,\)"),
        (np.zeros((0, 3)), [], 1, ValueError, r"logits: .*\(0, 3\)"),
        (np.zeros((2, 3), dtype=complex), [0, 1], 1, TypeError, r"logits: .*complex"),
    ],
)
def test_bad_top_k_arguments(logits: np.ndarray, targets: list, k: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        top_k_accuracy(logits, targets, k)


@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=9), min_size=1, max_size=9))
def test_running_mean_is_the_mean_over_samples(batches: list[list[float]]) -> None:
    running = RunningMean()
    for batch in batches:
        running.update(float(np.mean(batch)), len(batch))
    samples = np.concatenate(batches)
    assert running.count == samples.size
    assert running.mean == pytest.approx(samples.mean(), rel=1e-9, abs=1e-9)


def test_running_mean_weighs_by_batch_size_and_keeps_nan() -> None:
    running = RunningMean()
    running.update(1.0, 3)
    running.update(np.float32(5.0), np.int64(1))
    assert running.mean == 2.0
    running.update(float("nan"), 1)
    assert np.isnan(running.mean)
    running.reset()
    with pytest.raises(ValueError, match="update"):
        _ = running.mean


@pytest.mark.parametrize(("value", "count"), [([1.0, 2.0], 2), (1.0, 0), (1.0, -1), (1.0, 2.0), (1.0, True)])
def test_running_mean_refuses_bad_batches(value: object, count: object) -> None:
    with pytest.raises(ValueError, match=r"^(value|count): expected"):
        RunningMean().update(value, count)  # type: ignore[arg-type]


def test_report_equals_scikit_learn_figure_for_figure() -> None:
    rng = np.random.default_rng(7)
    names = ["hatchback", "saloon", "a long name of a car 2012", "van"]
    targets, predictions = rng.integers(0, 4, 90), rng.integers(0, 4, 90)
    ours = classification_report(counted(4, targets, predictions), names, digits=4)
    theirs = sklearn_metrics.classification_report(targets, predictions, target_names=names, digits=4, zero_division=0)
    figures = [line.split()[-4:] for line in ours.splitlines() if line and not line.startswith(("class", "accuracy"))]
    expected = [line.split()[-4:] for line in theirs.splitlines()[1:] if line and "accuracy" not in line]
    assert figures == expected
    accuracy_line = next(line for line in ours.splitlines() if line.startswith("accuracy"))
    assert accuracy_line.split()[1:] == [f"{accuracy(targets, predictions):.4f}", "90"]
    table = [line for line in ours.splitlines() if line]
    assert len({len(line) for line in table}) == 1, "columns line up"


def test_report_leaves_absent_classes_out_and_says_so() -> None:
    text = classification_report(counted(5, np.array([0, 1]), np.array([0, 2])))
    labels = [line.split()[0] for line in text.splitlines()[1:4]]
    assert labels == ["0", "1", "2"]
    assert text.splitlines()[-1].startswith("2 of 5 classes left out")


def test_report_needs_one_name_a_class_and_samples() -> None:
    with pytest.raises(ValueError, match="expected 3 names"):
        classification_report(counted(3, np.array([0]), np.array([0])), ["a", "b"])
    with pytest.raises(ValueError, match="no samples"):
        classification_report(ConfusionMatrix(3))
