"""Augmentations: functions (batch, draws) -> batch that only training applies.

Each is made by a function that is named here and takes its strength. It works on `batch["inputs"]`, images
`[batch, height, width, channels]` of the dtypes that it names, and keeps shape and dtype; all else in the batch passes
through, but for the labels and weights that `mixup` and `cutmix` mix. Where values matter, uint8 is from 0 to 255 and
floats are from 0 to 1, and stay there. What an example becomes is a function of itself and of its numbers from
`draws`, bit for bit, whatever batch it comes in; again but for those two, which have the attribute `whole_batch`.

>>> augment = parse("flip_left_right, random_crop(padding=2), mixup(alpha=0.2)", classes=10)
>>> augment.whole_batch, augment.soft_labels
(True, True)
"""

from data.augment.color import brightness, contrast, hue, saturation
from data.augment.composition import compose
from data.augment.crops import random_crop, random_resized_crop
from data.augment.erasing import cutout, random_erasing
from data.augment.flips import alternating_flip, flip_left_right, flip_up_down
from data.augment.geometry import rotation, shear, translation, zoom
from data.augment.mixing import cutmix, mixup
from data.augment.parsing import NAMES, parse
from data.augment.randaugment import rand_augment
from data.augment.tokens import token_dropout

__all__ = [
    "NAMES",
    "alternating_flip",
    "brightness",
    "compose",
    "contrast",
    "cutmix",
    "cutout",
    "flip_left_right",
    "flip_up_down",
    "hue",
    "mixup",
    "parse",
    "rand_augment",
    "random_crop",
    "random_erasing",
    "random_resized_crop",
    "rotation",
    "saturation",
    "shear",
    "token_dropout",
    "translation",
    "zoom",
]
