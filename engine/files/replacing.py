"""Putting a finished folder in the place of another."""

import os
import shutil
from pathlib import Path

REPLACED = ".replaced-"


def replace(folder: Path, aside: Path) -> None:
    """Gives the folder `aside` the name `folder`. What stood there goes, or stands there again if that fails (OSError).

    A process that ends in between leaves both, each whole, beside the name.
    """
    replaced = folder.with_name(f"{REPLACED}{folder.name}-{os.getpid()}")
    shutil.rmtree(replaced, ignore_errors=True)
    if folder.exists():
        folder.rename(replaced)
    try:
        aside.rename(folder)
    except OSError:
        if replaced.exists():
            replaced.rename(folder)
        raise
    shutil.rmtree(replaced, ignore_errors=True)
