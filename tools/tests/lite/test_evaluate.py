"""The measures, on label maps small enough to count by hand."""

import numpy as np
import torch

from zegformer_tools.lite.evaluate import Confusion, best_ious, harmonic, mean
from zegformer_tools.lite.runtime import OTHER, Proposals


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
    masks = torch.full((2, 4, 8), -5.0)
    masks[0, :, :4] = 5
    masks[1, :, 4:6] = 5
    truth = np.zeros((4, 8), np.int32)
    truth[:, :4], truth[:, 4:] = 1, 2
    found = best_ious(truth, (0,), Proposals(masks, torch.eye(2), torch.zeros(2), [0, 1], torch.eye(2)))
    np.testing.assert_allclose(found, [1.0, 0.5])


def test_harmonic_mean():
    assert harmonic(0.5, 0.5) == 0.5
    assert harmonic(0.0, 0.0) == 0.0
