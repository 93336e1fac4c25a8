"""Pictures drawn with NumPy alone: text, sample predictions, confusion matrices. All are uint8 `[height, width, 3]`."""

from engine.pictures.confusion import confusion_picture
from engine.pictures.samples import sample_grid

__all__ = ["confusion_picture", "sample_grid"]
