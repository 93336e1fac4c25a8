"""Whether a dataset's iterators can be saved: nothing in it may have a state of its own."""

import re

import tensorflow as tf

# What TensorFlow calls stateful so that it is not left out or moved, beside the datasets themselves: it remembers
# nothing. Tables that are not mutable are filled once.
_HARMLESS = re.compile(
    r"Assert|_Retval|_Arg|If|While|Case|StatefulPartitionedCall|HashTableV2|LookupTable(Find|Size|Import)V2"
    r"|InitializeTable\w*|(?!Random|Generator|Experimental)\w+Dataset(V\d)?"
)


def check_stateless(dataset):
    """Refuses a dataset with a stateful operation, a Python function or a generator in it.

    A saved iterator would not hold their state, and go on with other examples. Raises ValueError naming the operations.
    """
    graph = tf.compat.v1.GraphDef.FromString(
        tf.raw_ops.DatasetToGraphV2(
            input_dataset=tf.data.experimental.to_variant(dataset), external_state_policy=1
        ).numpy()
    )
    functions = {function.signature.name for function in graph.library.function}
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    known = tf.Graph()
    stateful = sorted(
        name
        for name in {node.op for node in nodes} - functions
        if known.op_def_for_type(name).is_stateful and not _HARMLESS.fullmatch(name)
    )
    if stateful:
        raise ValueError(
            f"Pipeline: a stream can't be resumed with {', '.join(stateful)} in it: the state would not be saved; "
            "use stateless operations (an augmentation's draws, tf.random.stateless_uniform)"
        )
