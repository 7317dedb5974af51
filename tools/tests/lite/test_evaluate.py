"""The measures, on label maps small enough to count by hand."""

import numpy as np

from zegformer_tools.lite.measures import (
    NEAR_BOUNDARY,
    Confusion,
    accuracy,
    best_ious,
    boundary_counts,
    boundary_scores,
    harmonic,
    interval,
    ious,
    mean,
)
from zegformer_tools.lite.runtime import OTHER


def test_iou_by_class():
    total = Confusion(2)
    truth = np.array([[0, 1, 1, 2]])
    picked = np.array([[OTHER, 0, OTHER, 1]], np.uint8)
    total.add(truth, picked, np.zeros_like(truth, bool))
    np.testing.assert_allclose(total.iou(), [0.5, 0.5, 1.0])


def test_void_pixels_and_absent_classes_do_not_count():
    total = Confusion(2)
    truth = np.array([[1, 1, 0]])
    total.add(truth, np.array([[0, 1, 1]], np.uint8), np.array([[False, False, True]]))
    iou = total.iou()
    assert iou[1] == 0.5 and np.isnan(iou[0]) and np.isnan(iou[2])
    assert mean(iou) == 0.5


def test_best_mask_of_each_segment():
    masks = np.zeros((2, 4, 8), bool)
    masks[0, :, :4] = True
    masks[1, :, 4:6] = True
    truth = np.zeros((4, 8), np.int32)
    truth[:, :4], truth[:, 4:] = 1, 2
    found = best_ious(truth, (0,), masks)
    np.testing.assert_allclose(found, [1.0, 0.5])


def test_classes_of_few_photos_do_not_count():
    total = Confusion(1)
    total.add(np.array([[0, 1]]), np.array([[OTHER, 0]], np.uint8), np.zeros((1, 2), bool))
    assert total.iou(1)[1] == 1 and np.isnan(total.iou(2)[1])
    assert total.accuracy() == 1


def test_boundaries_may_be_a_little_off():
    truth = np.zeros((60, 80), int)
    truth[:, 40:] = 1
    near = np.zeros((60, 80), int)
    near[:, 40 + int(NEAR_BOUNDARY * 100) :] = 1
    assert boundary_scores(boundary_counts([truth], (), near)) == (1, 1, 1)
    far = np.zeros((60, 80), int)
    far[:, 60:] = 1
    assert boundary_scores(boundary_counts([truth], (), far)) == (0, 0, 0)
    assert boundary_counts([np.zeros((4, 4), int)], (), far[:4, :4]).tolist() == [0, 0, 0, 0]


def test_too_many_boundaries_cost_precision():
    truth = np.zeros((60, 80), int)
    truth[:, 40:] = 1
    both = truth.copy()
    both[:, 60:] = 2
    recall, precision, f = boundary_scores(boundary_counts([truth], (), both))
    assert (recall, precision) == (1, 0.5) and f == harmonic(1, 0.5)
    assert boundary_scores(boundary_counts([truth, both], (), both)) == (1, 1, 1), "an annotator drew it"
    assert boundary_scores(boundary_counts([truth, both], (), truth))[0] == 2 / 3
    truth[:, 50:] = 255
    assert boundary_counts([truth], (255,), both)[3] == 60, "the other lies where nobody labelled"


def test_an_interval_is_that_of_the_mean():
    values = np.random.default_rng(1).random(400)
    low, high = interval(values)
    error = values.std() / 20
    assert abs(low - (values.mean() - 1.96 * error)) < 0.2 * error
    assert abs(high - (values.mean() + 1.96 * error)) < 0.2 * error
    assert interval([*values, float("nan")]) == [low, high] == interval(values)
    assert interval([0.5] * 3) == [0.5, 0.5] and np.isnan(interval([])).all()


def test_an_interval_over_photos_of_a_mean_iou():
    total = Confusion(2)
    for right in range(20):
        picked = np.zeros((1, 20), np.uint8)
        picked[0, right:] = OTHER
        total.add(np.ones((1, 20), int), picked, np.zeros((1, 20), bool))
    low, high = interval(total.rows, lambda sums: mean(ious(sums)[1:]))
    assert low < mean(total.iou()[1:]) < high
    assert total.occur() == 1 and total.occur(21) == 0 and interval(total.rows, accuracy) == [low, high]


def test_harmonic_mean():
    assert harmonic(0.5, 0.5) == 0.5
    assert harmonic(0.0, 0.0) == 0.0
