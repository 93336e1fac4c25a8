"""Augmentations from a line of text, such as a command line has."""

import ast
import inspect

from data.augment.color import brightness, contrast, hue, saturation
from data.augment.composition import compose
from data.augment.crops import random_crop, random_resized_crop
from data.augment.erasing import cutout, random_erasing
from data.augment.flips import alternating_flip, flip_left_right, flip_up_down
from data.augment.geometry import rotation, shear, translation, zoom
from data.augment.mixing import cutmix, mixup
from data.augment.randaugment import rand_augment
from data.augment.tokens import token_dropout

_MAKERS = (flip_left_right, flip_up_down, alternating_flip, random_crop, random_resized_crop)
_MAKERS += (rotation, zoom, translation, shear)
_MAKERS += (brightness, contrast, saturation, hue, cutout, random_erasing, mixup, cutmix, rand_augment, token_dropout)
_BY_NAME = {maker.__name__: maker for maker in _MAKERS}

NAMES = tuple(_BY_NAME)
_EXAMPLE = "flip_left_right,random_crop(padding=2)"


def parse(text, classes=None):
    """The augmentations that `text` names, in its order, as one; None if it names none.

    Names stand with commas between, each with arguments in parentheses if it needs any: numbers, strings in quotes,
    pairs. They are read, not run. `classes` goes to the augmentations that take it and are not given it. Raises
    ValueError in one line for an unknown name, with its arguments if these are what is wrong.

    >>> parse("cutout(width=15)")
    Traceback (most recent call last):
    ValueError: augment: cutout(size, fill_value=0.0): missing a required argument: 'size'
    """
    augments = [_made(*call, classes) for call in _calls(text)]
    if len(augments) < 2:
        return augments[0] if augments else None
    return compose(*augments)


def _calls(text):
    """(name, positional arguments, keyword arguments) of each augmentation."""
    if not text.strip():
        return []
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        nodes = tree.elts if isinstance(tree, ast.Tuple) else [tree]
        return [_call(node) for node in nodes]
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        reason = getattr(error, "msg", error)
        raise ValueError(f"augment: cannot read {text!r} ({reason}): write for instance {_EXAMPLE}") from None


def _call(node):
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    if not isinstance(call.func, ast.Name):
        raise ValueError("expected a name")
    if any(keyword.arg is None for keyword in call.keywords):
        raise ValueError(f"{call.func.id} has ** among its arguments")
    try:
        arguments = [ast.literal_eval(argument) for argument in call.args]
        return call.func.id, arguments, {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    except ValueError:
        raise ValueError(f"{call.func.id}: arguments are numbers, strings in quotes, or pairs") from None


def _made(name, args, kwargs, classes):
    if name not in _BY_NAME:
        raise ValueError(f"augment: augmentations are {', '.join(NAMES)}, found {name!r}")
    maker = _BY_NAME[name]
    signature = inspect.signature(maker)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise ValueError(f"augment: {name}{signature}: {error}") from None
    if "classes" in signature.parameters:
        bound.arguments.setdefault("classes", classes)
    return maker(*bound.args, **bound.kwargs)
