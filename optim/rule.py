"""The contract of an update rule, and the bookkeeping that all of them share."""

import functools
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import tensorflow as tf

from optim.compiled import compiled, direct, pays
from optim.domain import Domain
from optim.schedules import Setting, evaluate
from optim.sparse import deduplicate, densify

Gradient: TypeAlias = tf.Tensor | tf.IndexedSlices
Variables: TypeAlias = Mapping[str, tf.Variable] | Iterable[tf.Variable]


class Rule(tf.Module):
    """An update rule: a pure function of gradient, variable, slots and scalars, and the state around it.

    A subclass says what it is made of:

    - `domains`: its hyper-parameters, and the numbers that each may be;
    - `slot_names`: its slots, tensors that start as `initial` says: unless overridden, at zero, in the shape and
      dtype of their variable;
    - `products`: the hyper-parameters whose running product over the updates it needs (`product`); each is a
      float64 scalar variable `<name>_power`, which starts at one;
    - `numbers`: other numbers that change with each update, float64 scalar variables, and what they start at;
    - `coefficients()`: the scalars of one update, float64 or bool, computed once for all variables;
    - `own(path, coefficients)`: more of them, for one variable;
    - `formula(gradient, variable, *slots, **coefficients)`: from tensors to the new variable and the new slots,
      with the coefficients in the variable's dtype; or, where it depends on the variable's path, `update`;
    - `chooses`: that the `formula` and `update` of this class take `choose` as well: see `newest`;
    - `compiles`: whether an update of many numbers goes by XLA (see `optim.compiled`);
    - `by_rows(path)`: whether rows don't know of each other, and one whose gradient is 0 stays as it is, slots
      included.

    A hyper-parameter is a number, checked at construction, or a schedule, a function from the int64 `step` to
    a float64 scalar tensor. The first update uses schedule(0). All state (`slots`, `step`, products, numbers) is
    made by `init` and tracked, so that a `tf.train.Checkpoint` of the rule is complete.

    `step` is what schedules are evaluated at. It may be advanced without an update, when there is nothing
    to learn from; slots, products and numbers then stay as they are.
    """

    domains: Mapping[str, Domain] = {}
    slot_names: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    numbers: Mapping[str, float] = {}
    compiles = True
    chooses = False

    step: tf.Variable | None = None
    slots: Mapping[str, Mapping[str, tf.Variable]] = {}

    def __init__(self):
        super().__init__()
        self._paths = dict

    def configure(self, **settings: Setting) -> None:
        """Check and keep hyper-parameters; for constructors of rules."""
        for name, setting in settings.items():
            setattr(self, name, setting if callable(setting) else self.domains[name].require(name, setting))

    def init(self, variables: Variables) -> None:
        """Create all state, eagerly and in the strategy scope that is active.

        `variables` maps paths ("layers.0.kernel") to variables; in a plain sequence the path is the position
        ("0"). Slots are then `slots[slot_name][path]`. A second call with the same variables does
        nothing. ValueError: other variables on a second call, one given twice, one that is not of floats.
        """
        named = by_path(variables)
        paths = {variable.ref(): path for path, variable in named.items()}
        if self.step is not None:
            if self._paths is dict:
                raise ValueError(f"{self._label}.init: a rule within has had its init already; give a new one")
            if paths != self._paths():
                raise ValueError(f"{self._label}.init: called before with other variables; make a new rule")
            return
        for path, variable in named.items():
            if paths[variable.ref()] != path:
                raise ValueError(f"{self._label}.init: {path} is {paths[variable.ref()]} again; give it once")
            if not variable.dtype.is_floating:
                raise ValueError(f"{self._label}.init: {path} must be of floats, got {variable.dtype.name}")
        self.create(named)
        # In a function, so that tf.Module does not take the model's variables for the rule's state.
        self._paths = lambda: paths

    def create(self, named: Mapping[str, tf.Variable]) -> None:
        """Make the state for variables by path; `init` has checked them."""
        self.slots = {
            slot: {
                path: state_variable(initial, f"{slot}/{path}")
                for path, variable in named.items()
                if (initial := self.initial(slot, path, variable)) is not None
            }
            for slot in self.slot_names
        }
        for name, initial in {**{f"{name}_power": 1.0 for name in self.products}, **self.numbers}.items():
            setattr(self, name, state_variable(tf.constant(initial, tf.float64), name))
        self.step = state_variable(tf.zeros([], tf.int64), "step")

    def initial(self, slot: str, path: str, variable: tf.Variable) -> tf.Tensor | None:
        """What a slot starts at, in its shape and dtype; None if this variable has no such slot."""
        return tf.zeros(variable.shape, variable.dtype)

    def apply(
        self, gradients: Iterable[Gradient], variables: Variables, where: tf.Tensor | None = None
    ) -> list[tf.Variable] | None:
        """Make one update of `variables`, which may be some of those that `init` was given.

        A gradient has its variable's shape, any float dtype, and is dense or a `tf.IndexedSlices`. Slices of
        the same row are summed first, bit-equal from run to run. A rule that goes `by_rows` then touches only the
        rows that occur, to the same bits; another does what it does for the equal dense gradient, momentum and
        decay of the other rows included (rules that are called lazy elsewhere leave those rows as they are).
        where: for programs of XLA, a scalar bool: whether the update counts. Returned are those slots, perhaps none,
        that stay as they are if it does not; all else is then the caller's to put back. Without it, None is returned.
        ValueError, before anything changes: a gradient is None or of another shape, there are more or fewer
        than variables, or `init` has not seen a variable.
        """
        variables = list(by_path(variables).values())
        gradients = list(gradients)
        paths = self.check(gradients, variables)

        coefficients = self.coefficients()
        own = [_cast(self.own(path, coefficients), v.dtype) for path, v in zip(paths, variables, strict=True)]
        cast = {dtype: _cast(coefficients, dtype) for dtype in dict.fromkeys(variable.dtype for variable in variables)}
        gradients = [tf.cast(gradient, variable.dtype) for gradient, variable in zip(gradients, variables, strict=True)]
        sparse = [i for i, gradient in enumerate(gradients) if isinstance(gradient, tf.IndexedSlices)]
        dense = [i for i in range(len(gradients)) if i not in set(sparse)]

        chosen = []

        def update(positions, gradients, own, *coefficients):
            by_dtype = dict(zip(cast, coefficients, strict=True))
            for i, gradient, more in zip(positions, gradients, own, strict=True):
                given = {**by_dtype[variables[i].dtype], **more}
                chosen.extend(self._apply_one(paths[i], gradient, variables[i], given, where))

        through = compiled if where is None and self.compiles and pays([variables[i] for i in dense]) else direct
        through(
            functools.partial(update, dense), [gradients[i] for i in dense], [own[i] for i in dense], *cast.values()
        )
        update(sparse, [gradients[i] for i in sparse], [own[i] for i in sparse], *cast.values())
        self.step.assign_add(1)
        return None if where is None else chosen

    def check(self, gradients: Sequence[Gradient | None], variables: Sequence[tf.Variable]) -> list[str]:
        """The variables' paths; raises what `apply` raises for gradients or variables that it can't take."""
        if len(gradients) != len(variables):
            raise ValueError(f"{self._label}.apply: got {len(gradients)} gradients for {len(variables)} variables")
        paths = [self._path(variable) for variable in variables]
        for path, gradient, variable in zip(paths, gradients, variables, strict=True):
            if gradient is None:
                raise ValueError(f"{self._label}.apply: the gradient of {path} is None; leave the variable out")
            found, expected = gradient.shape, variable.shape
            if isinstance(gradient, tf.IndexedSlices):
                found, expected = gradient.values.shape[1:], expected[1:]
            if not expected.is_compatible_with(found):
                raise ValueError(f"{self._label}.apply: the gradient of {path} must have shape {expected}, got {found}")
        return paths

    def value(self, name: str) -> tf.Tensor:
        """Value of a hyper-parameter at the present step, which the next `apply` uses: a float64 scalar."""
        if name not in self.domains:
            raise ValueError(f"{self._label} has no hyper-parameter {name!r}, only {', '.join(self.domains)}")
        if self.step is None:
            raise ValueError(f"{self._label}.value: there is no step yet; call init first")
        return evaluate(getattr(self, name), self.step)

    def product(self, name: str) -> tf.Tensor:
        """Take the present value into the running product of a hyper-parameter; return the new product."""
        return self.keep(f"{name}_power", getattr(self, f"{name}_power") * self.value(name))

    def keep(self, name: str, value: tf.Tensor) -> tf.Tensor:
        """Assign to one of the numbers that change with each update; return the value."""
        getattr(self, name).assign(value)
        return value

    def by_rows(self, path: str) -> bool:
        """Whether slices of a variable may be updated alone, to the bits of the equal dense update."""
        return False

    def coefficients(self) -> dict[str, tf.Tensor]:
        """Scalars of one update, called once in each: all hyper-parameters, unless overridden."""
        return {name: self.value(name) for name in self.domains}

    def own(self, path: str, coefficients: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Scalars of one variable in one update, beside `coefficients`: none, unless overridden."""
        return {}

    def update(self, path, gradient, variable, *slots, **coefficients) -> tuple[tf.Tensor, ...]:
        """The rule for one variable: its new value, then its new slots."""
        return self.formula(gradient, variable, *slots, **coefficients)

    def formula(self, gradient, variable, *slots, **coefficients) -> tuple[tf.Tensor, ...]:
        """The rule itself, a pure function."""
        raise NotImplementedError(f"{self._label} must define formula() or update()")

    @property
    def _label(self) -> str:
        return type(self).__name__

    def _path(self, variable: tf.Variable) -> str:
        path = self._paths().get(variable.ref())
        if path is None:
            raise ValueError(
                f"{self._label}.apply: variable {variable.name!r} of shape {variable.shape} is unknown; "
                "give init every variable first"
            )
        return path

    def _chooses(self) -> bool:
        # What a subclass makes anew takes `choose` if that class says so.
        own = next(kind for kind in type(self).__mro__ if {"chooses", "update", "formula"} & set(vars(kind)))
        return bool(vars(own).get("chooses"))

    def _apply_one(
        self, path: str, gradient: Gradient, variable: tf.Variable, coefficients: dict, where: tf.Tensor | None
    ) -> list[tf.Variable]:
        slots = [self.slots[name] for name in self.slot_names]
        states = [variable, *(named[path] for named in slots if path in named)]
        if isinstance(gradient, tf.IndexedSlices) and self.by_rows(path):
            slices = deduplicate(gradient)
            rows = slices.indices
            new = self.update(path, slices.values, *(tf.gather(state, rows) for state in states), **coefficients)
            for state, value in zip(states, new, strict=True):
                state.scatter_update(tf.IndexedSlices(value, rows))
            return []
        if isinstance(gradient, tf.IndexedSlices):
            gradient = densify(gradient, variable.shape[0])
        kept: list[tf.Tensor] = []

        def choose(new, old):
            chosen = [tf.where(where, *pair) for pair in zip(new, old, strict=True)]
            kept.extend(chosen)
            return chosen

        if where is not None and self._chooses():
            coefficients = {**coefficients, "choose": choose}
        new = self.update(path, gradient, *(tf.convert_to_tensor(state) for state in states), **coefficients)
        for state, value in zip(states, new, strict=True):
            state.assign(value)
        return [state for state, value in zip(states, new, strict=True) if any(value is one for one in kept)]


def newest(new: Sequence[tf.Tensor], old: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
    """What `choose` is in a formula unless it is told otherwise: of new and old slots, the new ones.

    `Rule.apply` gives another one if it is told `where` the update counts: the old ones if it does not. A formula
    makes the variable from what `choose` returns, and returns that as its slots. XLA then writes them over the old
    ones; if new and old were both needed to the end, it would copy every slot first.
    """
    return new


def apply_where(
    rule: tf.Module, gradients: Sequence[Gradient], variables: Variables, where: tf.Tensor | None
) -> list[tf.Variable] | None:
    """`rule.apply(gradients, variables, where)` of a rule within another; its `apply` may be one without `where`."""
    if where is not None and "where" in inspect.signature(rule.apply).parameters:
        return rule.apply(gradients, variables, where) or []
    rule.apply(gradients, variables)
    return None if where is None else []


def by_path(variables: Variables) -> dict[str, tf.Variable]:
    """Variables by their paths, or by their positions in a plain sequence."""
    if isinstance(variables, Mapping):
        return dict(variables)
    return {str(position): variable for position, variable in enumerate(variables)}


def _cast(coefficients: Mapping[str, tf.Tensor], dtype: tf.DType) -> dict[str, tf.Tensor]:
    return {name: v if v.dtype == tf.bool else tf.cast(v, dtype) for name, v in coefficients.items()}


def state_variable(initial_value: tf.Tensor, name: str) -> tf.Variable:
    """A variable that no gradient changes."""
    return tf.Variable(initial_value, trainable=False, name=name)
