"""The networks as functions of weights by name, for peers without layers of their own.

`forward(work, ops, p, x, moved)` gives logits. `ops` is a table of operations (of JAX, of TensorFlow); `p` are the
weights by the names that Tapeline's variables have; into `moved` go new moving statistics in training, None is
inference.
"""


def _dense(ops, x, kernel, bias):
    """x·kernel + bias along the last of three dimensions, as one product of matrices."""
    inputs, outputs = kernel.shape
    y = ops.reshape(x, [-1, inputs]) @ kernel + bias
    return ops.reshape(y, [-1, x.shape[1], outputs])


def forward(work, ops, p, x, moved=None):
    """The logits of a work's network."""
    return globals()[work.network](work, ops, p, x, moved)


def mlp(work, ops, p, x, moved):
    """Flatten, 128, 64, 10."""
    x = ops.reshape(x, [-1, 784])
    x = ops.relu(x @ p["layers.1.kernel"] + p["layers.1.bias"])
    x = ops.relu(x @ p["layers.2.kernel"] + p["layers.2.bias"])
    return x @ p["layers.3.kernel"] + p["layers.3.bias"]


def convnet(work, ops, p, x, moved):
    """Three blocks of convolution and pooling, 128, 10. In bfloat16 weights are cast on use and logits cast back."""
    p = {name: ops.cast(value, work.precision) for name, value in p.items()}
    x = ops.cast(x, work.precision)
    for layer in ("layers.0", "layers.2", "layers.4"):
        x = ops.relu(ops.conv(x, p[f"{layer}.kernel"], 1, "VALID") + p[f"{layer}.bias"])
        x = ops.max_pool(x)
    x = ops.reshape(x, [-1, 512])
    x = ops.relu(x @ p["layers.7.kernel"] + p["layers.7.bias"])
    return ops.cast(x @ p["layers.8.kernel"] + p["layers.8.bias"], "float32")


def resnet(work, ops, p, x, moved):
    """A convolution, three stages of three blocks, pooling, 10."""

    def conv_norm(x, conv, norm, strides=1):
        return ops.batch_norm(ops.conv(x, p[f"{conv}.kernel"], strides, "SAME"), p, norm, moved)

    x = ops.relu(conv_norm(x, "backbone.stem.conv", "backbone.stem.norm"))
    for stage in (2, 3, 4):
        for number in range(3):
            block, strides = f"backbone.stage{stage}.block{number}", 2 if stage > 2 and number == 0 else 1
            y = ops.relu(conv_norm(x, f"{block}.conv1", f"{block}.norm1", strides))
            y = conv_norm(y, f"{block}.conv2", f"{block}.norm2")
            if strides == 2:
                x = ops.pad(x[:, ::2, ::2], [(0, 0), (0, 0), (0, 0), (0, x.shape[-1])])
            x = ops.relu(x + y)
    return ops.mean(x, (1, 2)) @ p["head.kernel"] + p["head.bias"]


def lstm(work, ops, p, x, moved):
    """Embedding, LSTM, 2 classes of its last output."""
    return _classes(ops, p, _last(work, ops, p, x, "recurrent.cell", _lstm_step, states=2))


def bilstm(work, ops, p, x, moved):
    """Embedding, an LSTM each way, 2 classes of their last outputs."""
    ways = (("recurrent.forward_layer.cell", False), ("recurrent.backward_layer.cell", True))
    lasts = [_last(work, ops, p, x, cell, _lstm_step, 2, backwards) for cell, backwards in ways]
    return _classes(ops, p, ops.concat(lasts, 1))


def gru(work, ops, p, x, moved):
    """Embedding, GRU, 2 classes of its last output."""
    return _classes(ops, p, _last(work, ops, p, x, "recurrent.cell", _gru_step, states=1))


def _classes(ops, p, x):
    return x @ p["dense.kernel"] + p["dense.bias"]


def _last(work, ops, p, ids, cell, step, states, backwards=False):
    """The output at the last token that is not masked."""
    kernel, recurrent, bias = (p[f"{cell}.{name}"] for name in ("kernel", "recurrent_kernel", "bias"))
    bias, recurrent_bias = (bias[0], bias[1]) if step is _gru_step else (bias, None)
    features = ops.take(p["embedding.embeddings"], ids)
    projected = ops.transpose(_dense(ops, features, kernel, bias), (1, 0, 2))
    seen = ops.transpose(ids, (1, 0))[:, :, None] != 0
    if backwards:
        projected, seen = projected[::-1], seen[::-1]

    def advance(state, inputs):
        new = step(ops, inputs[0], state, recurrent, recurrent_bias)
        if not work.sizes["masked"]:
            return new
        return tuple(ops.where(inputs[1], after, before) for after, before in zip(new, state, strict=True))

    zeros = ops.zeros([work.batch, work.sizes["units"]])
    return ops.scan(advance, (zeros,) * states, (projected, seen))[0]


def _lstm_step(ops, projected, state, recurrent, _):
    i, f, c, o = ops.split(projected + state[0] @ recurrent, 4)
    memory = ops.sigmoid(f) * state[1] + ops.sigmoid(i) * ops.tanh(c)
    return ops.sigmoid(o) * ops.tanh(memory), memory


def _gru_step(ops, projected, state, recurrent, recurrent_bias):
    z, r, a = ops.split(projected, 3)
    u, v, w = ops.split(state[0] @ recurrent + recurrent_bias, 3)
    z = ops.sigmoid(z + u)
    return (z * state[0] + (1 - z) * ops.tanh(a + ops.sigmoid(r + v) * w),)


def transformer(work, ops, p, ids, moved):
    """Embedding and positions, causal blocks with the norms first, a norm, logits of the next token."""
    time, features, heads = work.inputs[0], work.sizes["features"], work.sizes["heads"]

    def norm(x, name):
        mean = ops.mean(x, -1, keepdims=True)
        variance = ops.mean((x - mean) ** 2, -1, keepdims=True)
        return (x - mean) * ops.rsqrt(variance + 1e-5) * p[f"{name}.gamma"] + p[f"{name}.beta"]

    def split_heads(x, name):
        kernel, bias = ops.reshape(p[f"{name}.kernel"], [features, features]), ops.reshape(p[f"{name}.bias"], [-1])
        return ops.transpose(
            ops.reshape(_dense(ops, x, kernel, bias), [-1, time, heads, features // heads]), (0, 2, 1, 3)
        )

    x = ops.take(p["embedding.embeddings"], ids) + p["positions.embeddings"]
    for number in range(work.sizes["blocks"]):
        block = f"blocks.{number}"
        y, attention = norm(x, f"{block}.self_attention_norm"), f"{block}.self_attention"
        q, k, v = (split_heads(y, f"{attention}.{name}_dense") for name in ("query", "key", "value"))
        scores = q @ ops.transpose(k, (0, 1, 3, 2)) * (features // heads) ** -0.5
        y = ops.softmax(ops.where(ops.lower_triangle(time), scores, -1e9)) @ v
        y = ops.reshape(ops.transpose(y, (0, 2, 1, 3)), [-1, time, features])
        kernel = ops.reshape(p[f"{attention}.output_dense.kernel"], [features, features])
        x += _dense(ops, y, kernel, p[f"{attention}.output_dense.bias"])
        y = norm(x, f"{block}.feedforward_norm")
        y = ops.gelu(_dense(ops, y, p[f"{block}.hidden_dense.kernel"], p[f"{block}.hidden_dense.bias"]))
        x += _dense(ops, y, p[f"{block}.output_dense.kernel"], p[f"{block}.output_dense.bias"])
    return _dense(ops, norm(x, "norm"), p["dense.kernel"], p["dense.bias"])
