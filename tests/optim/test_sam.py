import numpy as np
import pytest
import tensorflow as tf
from rule_cases import assert_bit_equal, model, random

import optim


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64], ids=lambda dtype: dtype.name)
def test_uphill_is_rho_away_along_the_gradient_and_back_is_exact(dtype):
    sam, variables = optim.SAM(rho=0.25), model(dtype)
    sam.init(variables)
    before = [v.numpy() for v in variables.values()]
    # In float32 the squares of these would be infinite.
    gradients = [random((4, 2)) * 1e30, random(2) * 1e30]
    sam.perturb([tf.constant(g, dtype) for g in gradients], variables)
    moved = [v.numpy() - value for v, value in zip(variables.values(), before, strict=True)]
    norm = np.sqrt(sum(np.sum(g**2) for g in gradients))
    for way, gradient in zip(moved, gradients, strict=True):
        np.testing.assert_allclose(way, 0.25 * gradient / norm, atol=1e-6)
    sam.restore(variables)
    assert_bit_equal([v.numpy() for v in variables.values()], before)


def test_slices_go_uphill_as_their_dense_sum_does():
    ends = []
    slices = tf.IndexedSlices(tf.constant(random((3, 2))), tf.constant([2, 0, 2]))
    for gradient in (slices, tf.math.unsorted_segment_sum(slices.values, slices.indices, 4)):
        sam, kernel = optim.SAM(), tf.Variable(random((4, 2)))
        sam.init([kernel])
        sam.perturb([gradient], [kernel])
        ends.append(kernel.numpy())
    np.testing.assert_array_equal(*ends)


def test_a_gradient_of_0_goes_nowhere():
    sam, x = optim.SAM(), tf.Variable([1.0, -2.0])
    sam.init([x])
    sam.perturb([tf.zeros([2])], [x])
    assert x.numpy().tolist() == [1.0, -2.0]


def test_the_loop_of_two_gradients_prefers_the_flat_minimum():
    # A narrow valley around 1/4 beside a wide one around −1; the start is in the narrow one.
    def gradient(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.where(x > 0.0, 50.0 * (x - 0.25) ** 2, 0.5 * (x + 1.0) ** 2 + 2.625))
        return tape.gradient(loss, [x])

    ends = []
    for rho in (1e-6, 0.5):
        rule, sam, x = optim.SGD(0.005), optim.SAM(rho), tf.Variable(0.3)
        rule.init([x])
        sam.init([x])

        @tf.function
        def step(rule=rule, sam=sam, x=x):
            sam.perturb(gradient(x), [x])
            second = gradient(x)
            sam.restore([x])
            rule.apply(second, [x])

        for _ in range(300):
            step()
        ends.append(float(x))
    assert ends[0] == pytest.approx(0.25, abs=1e-3)
    assert ends[1] < 0.0


def test_mistakes_are_named():
    x, y = tf.Variable([1.0], name="x"), tf.Variable([1.0], name="y")
    sam = optim.SAM()
    sam.init([x])
    sam.init([x])
    with pytest.raises(ValueError, match=r"^SAM.init: called before with other variables; make a new SAM$"):
        sam.init([y])
    with pytest.raises(ValueError, match=r"^SAM.perturb: variable 'y:0' is unknown; give init every variable first$"):
        sam.perturb([tf.zeros([1])], [y])
    with pytest.raises(ValueError, match=r"^SAM.restore: variable 'y:0' is unknown"):
        sam.restore([y])
    with pytest.raises(ValueError, match=r"^SAM.perturb: there must be a gradient for each of 1 variables$"):
        sam.perturb([None], [x])
    with pytest.raises(ValueError, match="rho must be a finite number above 0, got 0"):
        optim.SAM(rho=0)


@pytest.mark.parametrize("back", [lambda f: f, tf.function], ids=["eager", "graph"])
def test_uphill_of_uphill_is_refused_and_after_restore_it_is_not(back):
    sam, x = optim.SAM(rho=0.5), tf.Variable([1.0], name="x")
    sam.init([x])
    restore = back(lambda: sam.restore([x]))
    for _ in range(3):
        sam.perturb([tf.ones([1])], [x])
        with pytest.raises(ValueError, match=r"^SAM.perturb: variable 'x:0' is uphill already; restore it first$"):
            sam.perturb([tf.ones([1])], [x])
        assert x.numpy().tolist() == [1.5]
        restore()
        assert x.numpy().tolist() == [1.0]
