import functools
import operator

import numpy as np
import pytest
import tensorflow as tf

import engine
import layers

X = tf.constant(np.random.default_rng(0).normal(size=[4, 3]))


def dense(units=3, features=3, **options):
    return layers.Dense(features, units, dtype="float64", **options)


def doubled(x):
    return 2 * x


def noisy(x, training=False):
    return -x if training else x


def test_a_residual_connection_adds_what_the_block_makes():
    first, second, shortcut = dense(5, activation="tanh"), dense(2, 5), dense(2)
    y = layers.Residual([first, second], shortcut)(X)
    np.testing.assert_allclose(y, second(first(X)) + shortcut(X), rtol=0, atol=1e-12)
    np.testing.assert_allclose(layers.Residual(tf.sin)(X), np.sin(X) + X, rtol=0, atol=1e-12)
    np.testing.assert_allclose(layers.Residual(tf.sin, [tf.cos, doubled])(X), np.sin(X) + 2 * np.cos(X), atol=1e-12)


@pytest.mark.parametrize(
    ("merge", "expected"),
    [
        ("concat", lambda parts: np.concatenate(parts, -1)),
        ("sum", sum),
        ("mul", lambda parts: functools.reduce(operator.mul, parts)),
        ("ave", lambda parts: sum(parts) / 3),
    ],
)
def test_branches_see_the_same_input_and_are_merged(merge, expected):
    branch = dense()
    y = layers.Parallel([branch, [tf.sin, doubled], tf.exp], merge)(X)
    np.testing.assert_allclose(y, expected([branch(X).numpy(), 2 * np.sin(X), np.exp(X)]), rtol=0, atol=1e-12)


def test_training_reaches_those_that_take_it():
    context = engine.StepContext(1, 2)
    for model, inference, training in [
        (layers.Residual([tf.identity, noisy]), 2 * X, 0 * X),
        (layers.Residual(noisy, noisy), 2 * X, -2 * X),
        (layers.Parallel([noisy, [doubled, noisy], tf.identity], "sum"), 4 * X, -2 * X),
        (layers.Sequential([layers.Lambda(f"{__name__}.noisy")]), X, -X),
    ]:
        np.testing.assert_allclose(model(X), inference, rtol=0, atol=1e-12)
        np.testing.assert_allclose(model(X, training=context), training, rtol=0, atol=1e-12)


def test_variables_are_found_and_freezing_reaches_them():
    model = layers.Residual(layers.Parallel([dense(), [dense(2), dense(1, 2)]]), dense(4))
    paths = engine.variable_paths(model)
    assert len(paths) == 8
    assert "shortcut.layers.0.kernel" in paths
    model.trainable = False
    assert engine.trainable_variables(model) == []


def test_sizes_follow_each_other_and_chain_learns_them():
    model = layers.chain(
        (3,), layers.Residual([dense(5), dense(3, 5)]), layers.Parallel([dense(2), [dense(4), doubled], dense(1)]),
        functools.partial(layers.Dense, units=6), dtype="float64",
    )  # fmt: skip
    assert [getattr(layer, "in_features", None) for layer in model.layers] == [None, None, 7]
    assert layers.Residual([dense(5), dense(3, 5)]).last_dimension(None) == 3
    assert layers.Residual(doubled).last_dimension(7) == 7
    assert layers.Parallel([dense(2), dense(4)]).last_dimension(3) == 6
    assert layers.Parallel([dense(2), doubled], "sum").last_dimension(3) == 2
    assert layers.Parallel([doubled, tf.sin], "ave").last_dimension(3) is None
    assert layers.Parallel([dense(2), doubled]).last_dimension(3) is None
    with pytest.raises(ValueError, match=r"layer 1 Residual.* cannot take \[..., 2\] from layer 0 Dense"):
        layers.Sequential([dense(2), layers.Residual(dense(4, 2))])


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (lambda: layers.Residual(dense(2)).last_dimension(3), ValueError, "dimension of 2, the shortcut 3"),
        (lambda: layers.Residual(dense(2), dense(4)), ValueError, r"^Residual\(.*block makes a last dimension of 2"),
        (lambda: layers.Residual(dense(1))(X), ValueError, r"shapes, found \(4, 1\) and \(4, 3\)"),
        (lambda: layers.Residual(lambda x: x[:1])(X), ValueError, r"found \(1, 3\) and \(4, 3\)"),
        (lambda: layers.Residual(layers.Dense), TypeError, r"Residual\(Dense\): block must be of layers and functions"),
        (lambda: layers.Residual(tf.sin, [3]), TypeError, "shortcut must be of layers and functions, found 3"),
        (lambda: layers.Parallel([]), ValueError, r"branches must be a list of at least one, found \[\]"),
        (lambda: layers.Parallel(dense()), ValueError, "branches must be a list"),
        (lambda: layers.Parallel([tf.sin, None]), TypeError, r"branches\[1\] must be of layers .* found None"),
        (lambda: layers.Parallel([tf.sin], "max"), ValueError, "merge must be one of concat, .* found 'max'"),
        (lambda: layers.Parallel([dense(2), dense(4)], "sum"), ValueError, r"needs equal shapes, .* are \[2, 4\]"),
        (lambda: layers.Parallel([tf.sin, lambda x: x[:, :1]], "mul")(X), ValueError, r"found \(4, 3\) and \(4, 1\)"),
        (lambda: layers.Residual([dense(2), dense(4)]), ValueError, r"layer 1 Dense\(3, 4, .* layer 0 Dense\(3, 2"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(build, kind, message):
    with pytest.raises(kind, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("function", "path", "expected"),
    [
        ("tensorflow.sin", "tensorflow.sin", np.sin),
        ("tensorflow.math.sin", "tensorflow.math.sin", np.sin),
        ("tanh", "tanh", np.tanh),
        (layers.activations.tanh, "layers.activations.tanh", np.tanh),
        (doubled, f"{__name__}.doubled", lambda x: 2 * x),
        (f"{__name__}.doubled", f"{__name__}.doubled", lambda x: 2 * x),
    ],
)
def test_a_function_is_kept_by_the_path_by_which_it_is_imported(function, path, expected):
    layer = layers.Lambda(function)
    assert layer.path == path
    for same in (layer, layers.Lambda(layer.path), type(layer)(*layer.arguments.args, **layer.arguments.kwargs)):
        np.testing.assert_allclose(same(X), expected(X), rtol=0, atol=1e-12)
        assert same.path == path


class Callable:
    def __call__(self, x):
        return x


def of_the_program(x):
    return x


def hidden(x):
    return x


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        (lambda x: x, ValueError, "a lambda has no name: define it in a module with def"),
        ((lambda: (lambda x: x))(), ValueError, "a lambda has no name"),
        (functools.partial(doubled), ValueError, "has no name: define a function"),
        (Callable(), ValueError, "has no name: define a function"),
        ("tensorflow.sine", ValueError, "'tensorflow.sine' is neither an activation nor the path of a function"),
        ("nowhere.at.all", ValueError, "'nowhere.at.all' is neither"),
        ("rellu", ValueError, "'rellu' is neither an activation"),
        ("tensorflow.float32", ValueError, "neither an activation nor the path"),
        ("", ValueError, "'' is neither"),
        (3, TypeError, "function must be a function or its name, found 3"),
    ],
)  # fmt: skip
def test_what_could_not_be_imported_again_is_refused_in_one_line(function, kind, message):
    with pytest.raises(kind, match=f"^Lambda: .*{message}") as caught:
        layers.Lambda(function)
    assert "\n" not in str(caught.value)


def test_functions_of_functions_of_the_program_and_hidden_ones_are_refused(monkeypatch):
    def inner(x):
        return x

    with pytest.raises(ValueError, match=r"importable, .*inner is defined inside a function"):
        layers.Lambda(inner)
    monkeypatch.setattr(of_the_program, "__module__", "__main__")
    with pytest.raises(ValueError, match="of_the_program is of the program that runs"):
        layers.Lambda(of_the_program)
    function = hidden
    monkeypatch.setitem(globals(), "hidden", doubled)
    with pytest.raises(ValueError, match=r"hidden is something else: give the path"):
        layers.Lambda(function)


def one_row(x):
    return x[:, :1]


@pytest.mark.parametrize(
    "model",
    [layers.Residual(one_row), *(layers.Parallel([tf.identity, one_row], merge) for merge in ("sum", "mul", "ave"))],
    ids=repr,
)
def test_nothing_is_broadcast_where_sizes_are_unknown(model):
    signature, x = [tf.TensorSpec([None, None, 4])], tf.ones([2, 3, 4])
    graph = tf.function(model, input_signature=signature)
    np.testing.assert_array_equal(graph(x[:, :1]), model(x[:, :1]))
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"must make equal shapes, sizes of an axis, found\] \[1\] \[to\] \[3\]"
    ):
        graph(x)
    assert graph.get_concrete_function().output_shapes.as_list() == [None, None, 4]
    xla = tf.function(model, input_signature=signature, jit_compile=True)
    if getattr(model, "merge", "") in ("sum", "ave"):
        # One operation sums them all, and XLA does not compile it for other shapes.
        with pytest.raises(tf.errors.InvalidArgumentError):
            xla(x)
    else:
        assert np.all(np.isnan(xla(x)))
    np.testing.assert_array_equal(xla(x[:, :1]), model(x[:, :1]))


def test_integers_of_unknown_sizes_are_compared_too_and_unknown_ranks_refused():
    add = layers.Residual(one_row)
    graph = tf.function(add, input_signature=[tf.TensorSpec([None, None], tf.int32)])
    np.testing.assert_array_equal(graph([[1], [2]]), [[2], [4]])
    with pytest.raises(tf.errors.InvalidArgumentError, match="must make equal shapes"):
        graph([[1, 2]])
    with pytest.raises(ValueError, match="must make equal shapes, found one of unknown rank"):
        tf.function(layers.Residual(tf.identity), input_signature=[tf.TensorSpec(None, tf.float64)])(X)


def test_unknown_shapes_and_xla_compute_the_same():
    model = layers.Residual(layers.Parallel([dense(2), [tf.sin, dense(1)]]))
    graph = tf.function(model, input_signature=[tf.TensorSpec([None, 3], tf.float64)])
    for compiled in (graph, tf.function(model, jit_compile=True)):
        np.testing.assert_allclose(compiled(X), model(X), rtol=0, atol=1e-12)
