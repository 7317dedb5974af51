import numpy as np

from zegformer_tools.lite.branch import SIDE
from zegformer_tools.lite.export import _withheld
from zegformer_tools.lite.image import VIEWS, views
from zegformer_tools.lite.regions import LEAST_PART


def test_views_are_the_whole_and_a_mirrored_part() -> None:
    ramp = np.repeat(np.linspace(0, 255, 400).astype(np.uint8)[None, :, None], 300, 0).repeat(3, 2)
    for mirrored in (False, True):
        whole, part = views(ramp, mirrored, np.random.default_rng(0))
        assert VIEWS == 2 and whole.shape == part.shape == (SIDE, SIDE, 3)
        left, right = (whole[0, :: SIDE - 1, 0].astype(int))[:: -1 if mirrored else 1]
        assert left < 3 and right > 252
        assert (part[0, 0, 0] < part[0, -1, 0]) == mirrored, "mirrored the other way"
        assert LEAST_PART * 250 < np.ptp(part[0, :, 0]) < 255


def test_names_withheld_from_any_training_of_a_mean_are_unseen() -> None:
    told = {"mean_of": [{"withheld": ["sofa"]}, {"mean_of": [{"withheld": ["tv"]}, {"withheld": []}]}]}
    assert _withheld(told) == {"sofa", "tv"}
