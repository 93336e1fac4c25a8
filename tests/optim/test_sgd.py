import tensorflow as tf

import optim


def test_without_momentum_there_is_no_slot_and_only_the_rows_that_occur_are_written():
    rule, table = optim.SGD(learning_rate=0.5), tf.Variable(tf.ones([3, 2]))
    rule.init({"table": table})
    assert rule.slot_names == ()
    assert rule.variables == (rule.step,)

    @tf.function
    def step(values, rows):
        rule.apply([tf.IndexedSlices(values, rows)], [table])

    operations = step.get_concrete_function(tf.ones([2, 2]), tf.constant([1, 1])).graph.get_operations()
    kinds = {op.type for op in operations}
    assert "ResourceScatterUpdate" in kinds
    step(tf.ones([2, 2]), tf.constant([1, 1]))
    assert table.numpy().tolist() == [[1, 1], [0, 0], [1, 1]]


def test_a_scheduled_momentum_has_a_slot_even_where_it_begins_at_zero():
    rule, x = optim.SGD(1.0, momentum=optim.schedules.piecewise([0], [0.0, 0.5])), tf.Variable(0.0)
    rule.init({"x": x})
    path = []
    for _ in range(3):
        rule.apply([tf.constant(1.0)], [x])
        path.append(x.numpy())
    assert path == [-1.0, -2.5, -4.25]


def test_rows_that_do_not_occur_decay_like_those_that_do():
    ends = []
    values, rows = tf.constant([[1.0, 2.0]]), tf.constant([1])
    for gradient in (tf.IndexedSlices(values, rows), tf.scatter_nd(rows[:, tf.newaxis], values, [3, 2])):
        rule, table = optim.SGD(learning_rate=0.5, weight_decay=0.5), tf.Variable(tf.ones([3, 2]))
        rule.init({"table": table})
        rule.apply([gradient], [table])
        ends.append(table.numpy().tolist())
    assert ends[0] == ends[1] == [[0.75, 0.75], [0.25, -0.25], [0.75, 0.75]]
