"""In which order a Keras file's layers come: from the model's configuration, or from what fits.

A file of weights alone counts the layers of each class, in each model, and nothing more: conv2d, conv2d_1, … and
batch_normalization, …. Against the layers of a model, class by class and shape by shape, that leaves one order,
or it is said that there are several.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from engine.files.hdf5 import ModelFileError

_STATES = 1000


def snake(name: str) -> str:
    """Keras' spelling of a class in its files: `Conv2DTranspose` is `conv2d_transpose`.

    >>> snake("Conv2DTranspose"), snake("LSTM"), snake("PReLU")
    ('conv2d_transpose', 'lstm', 'p_re_lu')
    """
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def counted(kind: str, counts: dict[str, int]) -> str:
    """`dense`, then `dense_1`, …."""
    number = counts[kind] = counts.get(kind, -1) + 1
    return f"{kind}_{number}" if number else kind


def configured(path: Path, config) -> Iterator[tuple[tuple[str, ...], str]]:
    """The place and the name of every layer in a model's configuration, in the order of the model; none of no model."""
    try:
        yield from _configured(config, ())
    except RecursionError:
        raise ModelFileError(f"{path}: the configuration has too many models in models") from None


def _configured(config, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    inside = config.get("config") if isinstance(config, dict) else None
    if not isinstance(inside, dict):
        return
    if isinstance(inside.get("layer"), dict):
        yield from _configured(inside["layer"], place)
    counts: dict[str, int] = {}
    for entry in inside["layers"] if isinstance(inside.get("layers"), list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("config"), dict):
            here = (*place, counted(snake(str(entry.get("class_name"))), counts))
            yield here, str(entry["config"].get("name"))
            yield from _configured(entry, here)


def fitted(path: Path, ours: list, theirs: list, fits: Callable[[Any, Any], bool]) -> list:
    """`theirs` in the order of `ours`, when only layers of a class in a model have an order of their own.

    fits(one of ours, one of theirs). A model in a model comes without a gap. ModelFileError for the first of ours with
    which nothing fits, and if there are several orders.
    """
    tree = _model(theirs, 0)
    # All ways are gone along at once: what is left of the file tells two of them apart, not how they came there.
    ways = {((tree, (0,) * len(tree.chains)),): (1, None)}
    for number, mine in enumerate(ours):
        following: dict = {}
        for state, (count, way) in ways.items():
            for leaf, after in _next(state):
                if fits(mine, leaf):
                    before, first = following.get(after, (0, (way, leaf)))
                    following[after] = (before + count, first)
        if not following:
            left: list[Any] = [leaf for state in ways for leaf, _ in _next(state)]
            if not left:
                raise ModelFileError(_lengths(path, ours, theirs, "the model", mine))
            alike = [leaf for leaf in left if kind_and_number(leaf.place[-1])[0] in mine.kinds]
            there = " or ".join(list(dict.fromkeys(map(str, alike or left)))[:3])
            raise ModelFileError(f"{path}: layer {number} with weights is {mine} here, and {there} in the file")
        if len(following) > _STATES:
            raise ModelFileError(_several(path))
        ways = following
    more = next((leaf for state in ways for leaf, _ in _next(state)), None)
    if more is not None:
        raise ModelFileError(_lengths(path, ours, theirs, "the file", more))
    ((count, way),) = ways.values()
    if count > 1:
        raise ModelFileError(_several(path))
    order = []
    while way:
        way, leaf = way
        order.append(leaf)
    return order[::-1]


def _several(path: Path) -> str:
    return f"{path}: the order of its layers is not in the file, and several would do: give names, or a .keras file"


def _lengths(path: Path, ours: list, theirs: list, where: str, more: Any) -> str:
    return f"{path}: {len(ours)} layers with weights here, {len(theirs)} in the file; {where} goes on with {more}"


def in_order(path: Path, ours: list, theirs: list, fits: Callable[[Any, Any], bool]) -> list:
    """`theirs`, which are in order, if each fits; ModelFileError for the first that does not."""
    for number, (mine, other) in enumerate(zip(ours, theirs, strict=False)):
        if not fits(mine, other):
            raise ModelFileError(f"{path}: layer {number} with weights is {mine} here, and {other} in the file")
    if len(ours) != len(theirs):
        more, where = (ours, "the model") if len(ours) > len(theirs) else (theirs, "the file")
        raise ModelFileError(_lengths(path, ours, theirs, where, more[min(len(ours), len(theirs))]))
    return theirs


@dataclasses.dataclass(eq=False)
class _Model:
    """The layers of a model, and models in it: a chain for each class."""

    chains: list[list]


def _model(leaves: list, depth: int) -> _Model:
    items: dict[str, list] = {}
    for leaf in leaves:
        items.setdefault("".join(leaf.place[depth : depth + 1]), []).append(leaf)
    chains: dict[str, dict[int, object]] = {}
    for item, inside in items.items():
        kind, number = kind_and_number(item)
        alone = len(inside) == 1 and len(inside[0].place) <= depth + 1
        chains.setdefault(kind, {})[number] = inside[0] if alone else _model(inside, depth + 1)
    return _Model([[chain[number] for number in sorted(chain)] for chain in chains.values()])


def kind_and_number(item: str) -> tuple[str, int]:
    """Of the name that `counted` gave."""
    found = re.fullmatch(r"(.+)_([1-9][0-9]{0,8})", item)
    return (found[1], int(found[2])) if found else (item, 0)


def _next(state: tuple) -> Iterator[tuple[object, tuple]]:
    """What may come next, with the state after it: models that are begun, and how far each of their chains is."""
    model, places = state[-1]
    for number, chain in enumerate(model.chains):
        if places[number] == len(chain):
            continue
        item = chain[places[number]]
        after = (*state[:-1], (model, (*places[:number], places[number] + 1, *places[number + 1 :])))
        if isinstance(item, _Model):
            yield from _next((*after, (item, (0,) * len(item.chains))))
            continue
        while len(after) > 1 and all(
            at == len(held) for held, at in zip(after[-1][0].chains, after[-1][1], strict=True)
        ):
            after = after[:-1]
        yield item, after
