import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from optim.sparse import deduplicate, densify

ROWS = 5


@tf.function(input_signature=[tf.TensorSpec([None, 2]), tf.TensorSpec([None], tf.int64)])
def both(values, indices):
    slices = tf.IndexedSlices(values, indices)
    unique = deduplicate(slices)
    return unique.values, unique.indices, densify(slices, ROWS)


@given(indices=st.lists(st.integers(0, ROWS - 1), max_size=20))
def test_duplicates_are_summed_in_the_order_in_which_they_stand(indices):
    values = np.random.default_rng(len(indices)).standard_normal((len(indices), 2)).astype("float32")
    expected = np.zeros((ROWS, 2), "float32")
    np.add.at(expected, indices, values)
    found, rows, dense = (tensor.numpy() for tensor in both(values, np.array(indices, "int64")))
    assert rows.tolist() == list(dict.fromkeys(indices))
    np.testing.assert_array_equal(found, expected[rows])
    np.testing.assert_array_equal(dense, expected)
