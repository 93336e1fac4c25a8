"""Errors of reading: what a data source says of itself, and not what TensorFlow says of it."""

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf


@contextlib.contextmanager
def told_by(pipeline: Any) -> Iterator[None]:
    """Within it, what goes wrong while `pipeline` is read is the source's own exception, with its file or row.

    That is for a pipeline with `cause(error) -> exception or None`, such as those of `data`.
    """
    try:
        yield
    except tf.errors.OpError as error:
        cause = pipeline.cause(error) if hasattr(pipeline, "cause") else None
        if cause is None:
            raise
        raise cause from error
