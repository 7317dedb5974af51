"""Crops, held-out photos and segments, on made-up label maps."""

from pathlib import Path

import numpy as np
from PIL import Image

from zegformer_tools.lite.cache import packed, unpacked
from zegformer_tools.lite.composite import pasted
from zegformer_tools.lite.data import LONG, SHORT, Crop, Photo, Segments, for_tuning, is_held_out, joined, segments

IDS = {("voc", 1): 0, ("voc", 2): 1, ("coco", 0): 2, ("ccp", 3): 3}
PERSON = 1


def test_a_tenth_is_held_out_whatever_the_set():
    share = np.mean([is_held_out(f"photo{i}") for i in range(4000)])
    assert 0.08 < share < 0.13
    assert [i for i in range(60) if is_held_out(f"photo{i}")] == [11, 14, 47, 57]
    assert [i for i in (11, 14, 47, 57) if for_tuning(Photo("voc", f"photo{i}", Path()))] == [11, 14, 57]


def test_the_whole_crop_keeps_the_aspect_and_stays_inside():
    rng = np.random.default_rng(0)
    crop = Crop.of(427, 320, SHORT, 1.0, False, rng)
    x0, y0, x1, y1 = crop.box
    assert not crop.portrait
    assert np.isclose((x1 - x0) / (y1 - y0), LONG / SHORT)
    assert min(x0, y0) >= 0 and x1 <= 427 + 1e-3 and y1 <= 320 + 1e-3


def test_a_portrait_crop_is_high():
    for short, long in ((SHORT, LONG), (384, 480)):
        crop = Crop.of(300, 400, short, 0.7, True, np.random.default_rng(1))
        pixels = crop.pixels(Image.new("RGB", (300, 400), (10, 20, 30)))
        assert pixels.shape == (long, short, 3)
        assert (pixels == [10, 20, 30]).all()


def test_labels_are_mirrored_with_the_pixels():
    labels = np.zeros((SHORT, LONG), np.uint8)
    labels[:, : LONG // 2] = 1
    crop = Crop((0, 0, LONG, SHORT), True, False)
    found = crop.labels(Image.fromarray(labels))
    assert found[0, 0] == 0 and found[0, -1] == 1


def test_void_and_specks_are_no_segments():
    labels = np.zeros((16, 16), np.int32)
    labels[:8, :8] = 1
    labels[8:, 8:] = 255
    labels[12, :2] = 2
    found = segments("voc", labels, IDS, PERSON)
    assert found.names == [0]
    assert found.masks[0].sum() == 64
    assert found.labelled.sum() == 66


def test_garments_make_a_person_too():
    labels = np.zeros((16, 16), np.int32)
    labels[4:12, 4:12] = 3
    found = segments("ccp", labels, IDS, PERSON)
    assert found.names == [3, PERSON]
    assert (found.masks[0] == found.masks[1]).all()


def test_segments_without_names():
    labels = np.repeat([[1, 2]], 8, 0).repeat(8, 1)
    found = segments("bsds", labels, IDS, PERSON)
    assert found.names == [-1, -1]
    assert not found.labelled.any()


def test_parts_and_wholes_of_several_annotators():
    whole = np.ones((40, 40), int)
    halves = whole.copy()
    halves[:, 20:] = 2
    nearly = whole.copy()
    nearly[:, 22:] = 2
    found = joined([segments("bsds", labels, IDS, PERSON) for labels in (halves, whole, nearly)])
    assert sorted(mask.sum() for mask in found.masks) == [800, 880, 1600]
    assert found.names == [-1] * 3 and not found.labelled.any()


def test_one_annotator_is_believed():
    labels = np.full((20, 20), 3, np.uint8)
    one = segments("ccp", labels, IDS, PERSON)
    assert joined([one]).names == [3, PERSON]  # a garment as large as who wears it


def test_packing_keeps_everything():
    masks = np.random.default_rng(0).random((3, 8, 16)) > 0.5
    found = Segments(masks, [0, 1, -1], masks[0])
    again = unpacked(packed(found))
    assert (again.masks == masks).all() and (again.labelled == masks[0]).all() and again.names == found.names


def test_a_pasted_object_hides_what_is_behind_it():
    rng = np.random.default_rng(0)
    behind = Segments(np.ones((1, SHORT // 4, LONG // 4), bool), [7], np.zeros((SHORT // 4, LONG // 4), bool))
    mask = np.zeros((100, 100), bool)
    mask[20:80, 30:70] = True
    pixels, found = pasted(
        np.zeros((SHORT, LONG, 3), np.uint8), behind, Image.new("RGB", (100, 100), (200, 0, 0)), mask, 3, rng
    )
    assert found.names == [3, 7]
    assert (found.masks.sum(0) == 1).all() and (found.labelled == found.masks[0]).all()
    inside = pixels[2::4, 2::4][found.masks[0]]
    assert np.median(inside[:, 0]) == 200 and (pixels[2::4, 2::4][found.masks[1]][:, 0] <= 100).all()
    height = found.masks[0].any(1).sum() * 4
    assert 0.25 * SHORT < height < 0.85 * SHORT
