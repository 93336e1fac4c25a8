"""PyTorch, eager or under `torch.compile`; data in memory, pictures channels last."""

import math
import os

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.works import EPSILON, MOMENTUM


class MLP(nn.Module):
    def __init__(self, work):
        super().__init__()
        self.dense = nn.ModuleList([nn.Linear(784, 128), nn.Linear(128, 64), nn.Linear(64, work.classes)])

    def forward(self, x):
        x = F.relu(self.dense[0](x.flatten(1)))
        return self.dense[2](F.relu(self.dense[1](x)))

    def load(self, weights):
        for number, dense in enumerate(self.dense, 1):
            _dense(dense, weights, f"layers.{number}")


class Convnet(nn.Module):
    def __init__(self, work):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(3, 32, 3), nn.Conv2d(32, 64, 3), nn.Conv2d(64, 128, 3)])
        self.hidden, self.head = nn.Linear(512, 128), nn.Linear(128, work.classes)

    def forward(self, x):
        for conv in self.convs:
            x = F.max_pool2d(F.relu(conv(x)), 2)
        # In memory channels are last, so that this flattens as TensorFlow does.
        return self.head(F.relu(self.hidden(x.permute(0, 2, 3, 1).flatten(1))))

    def load(self, weights):
        for number, conv in enumerate(self.convs):
            _conv(conv, weights, f"layers.{2 * number}")
        _dense(self.hidden, weights, "layers.7")
        _dense(self.head, weights, "layers.8")


class Block(nn.Module):
    def __init__(self, channels, filters, strides):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, strides, padding=1 if strides == 1 else 0, bias=False)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.norm1, self.norm2 = _norm(filters), _norm(filters)
        self.strides, self.more = strides, filters - channels

    def forward(self, x):
        # TensorFlow's "same" with strides of 2 pads an even picture at the end alone.
        y = F.pad(x, (0, 1, 0, 1)) if self.strides == 2 else x
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(y)))))
        if self.strides == 2:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.more))
        return F.relu(x + y)


class ResNet(nn.Module):
    def __init__(self, work):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 16, 3, padding=1, bias=False), _norm(16)
        channels, blocks = 16, []
        for stage, filters in enumerate((16, 32, 64)):
            for number in range(3):
                blocks.append(Block(channels, filters, 2 if stage and number == 0 else 1))
                channels = filters
        self.blocks, self.head = nn.Sequential(*blocks), nn.Linear(64, work.classes)

    def forward(self, x):
        return self.head(self.blocks(F.relu(self.norm(self.conv(x)))).mean((2, 3)))

    def load(self, weights):
        _conv(self.conv, weights, "backbone.stem.conv")
        _batch_norm(self.norm, weights, "backbone.stem.norm")
        for number, block in enumerate(self.blocks):
            name = f"backbone.stage{2 + number // 3}.block{number % 3}"
            for k in (1, 2):
                _conv(getattr(block, f"conv{k}"), weights, f"{name}.conv{k}")
                _batch_norm(getattr(block, f"norm{k}"), weights, f"{name}.norm{k}")
        _dense(self.head, weights, "head")


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1, the strides in the first, as Keras has it."""

    def __init__(self, channels, filters, strides, project):
        super().__init__()
        sizes = [(channels, filters, 1, strides), (filters, filters, 3, 1), (filters, 4 * filters, 1, 1)]
        self.convs = nn.ModuleList([nn.Conv2d(i, o, k, s, padding=k // 2) for i, o, k, s in sizes])
        self.norms = nn.ModuleList([_norm(size[1]) for size in sizes])
        self.shortcut = nn.Conv2d(channels, 4 * filters, 1, strides) if project else None
        self.shortcut_norm = _norm(4 * filters) if project else None

    def forward(self, x):
        y = x
        for conv, norm in zip(self.convs[:2], self.norms[:2], strict=True):
            y = F.relu(norm(conv(y)))
        x = x if self.shortcut is None else self.shortcut_norm(self.shortcut(x))
        return F.relu(self.norms[2](self.convs[2](y)) + x)

    def load(self, weights, name):
        for k, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True), 1):
            _conv(conv, weights, f"{name}.conv{k}")
            _batch_norm(norm, weights, f"{name}.norm{k}")
        if self.shortcut is not None:
            _conv(self.shortcut, weights, f"{name}.shortcut.conv")
            _batch_norm(self.shortcut_norm, weights, f"{name}.shortcut.norm")


class FrozenResNet50(nn.Module):
    """A backbone in inference, without gradients, and a head."""

    def __init__(self, work):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 64, 7, 2, padding=3), _norm(64)
        self.blocks, channels = nn.ModuleDict(), 64
        for stage, (depth, filters) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), 2):
            for number in range(depth):
                first = number == 0
                block = Bottleneck(channels, filters, 2 if first and stage > 2 else 1, first)
                self.blocks[f"stage{stage}_block{number}"], channels = block, 4 * filters
        self.head = nn.Linear(channels, work.classes)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name.startswith("head"))

    def train(self, mode=True):
        # A frozen backbone keeps its statistics, too.
        return super().train(False)

    def forward(self, x):
        with torch.no_grad():
            x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 3, 2, padding=1)
            for block in self.blocks.values():
                x = block(x)
        return self.head(x.mean((2, 3)))

    def load(self, weights):
        _conv(self.conv, weights, "backbone.stem.conv")
        _batch_norm(self.norm, weights, "backbone.stem.norm")
        for name, block in self.blocks.items():
            block.load(weights, "backbone." + name.replace("_", "."))
        _dense(self.head, weights, "head")


class Text(nn.Module):
    def __init__(self, work):
        super().__init__()
        sizes, both = work.sizes, work.network == "bilstm"
        self.embedding = nn.Embedding(sizes["vocabulary"], sizes["features"])
        kind = nn.GRU if work.network == "gru" else nn.LSTM
        self.recurrent = kind(sizes["features"], sizes["units"], batch_first=True, bidirectional=both)
        self.dense = nn.Linear(sizes["units"] * (1 + both), work.classes)
        self.masked = sizes["masked"]

    def forward(self, ids):
        x = self.embedding(ids)
        if self.masked:
            lengths = (ids != 0).sum(1)
            x = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        last = self.recurrent(x)[1]
        last = last[0] if isinstance(last, tuple) else last
        return self.dense(last.transpose(0, 1).flatten(1))

    def load(self, weights):
        _put(self.embedding.weight, weights["embedding.embeddings"])
        ways = {"": "recurrent.cell"}
        if self.recurrent.bidirectional:
            ways = {"": "recurrent.forward_layer.cell", "_reverse": "recurrent.backward_layer.cell"}
        for suffix, name in ways.items():
            kernel, recurrent, bias = (weights[f"{name}.{part}"] for part in ("kernel", "recurrent_kernel", "bias"))
            get = lambda part, suffix=suffix: getattr(self.recurrent, f"{part}_l0{suffix}")  # noqa: E731
            if isinstance(self.recurrent, nn.GRU):
                _put(get("weight_ih"), _reset_first(kernel).T)
                _put(get("weight_hh"), _reset_first(recurrent).T)
                _put(get("bias_ih"), _reset_first(bias[0]))
                _put(get("bias_hh"), _reset_first(bias[1]))
            else:
                _put(get("weight_ih"), kernel.T)
                _put(get("weight_hh"), recurrent.T)
                _put(get("bias_ih"), bias)
                # A second bias that is trained as well would be one of twice the learning rate.
                nn.init.zeros_(get("bias_hh")).requires_grad_(False)
        _dense(self.dense, weights, "dense")


class TransformerBlock(nn.Module):
    def __init__(self, features, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(features, eps=1e-5), nn.LayerNorm(features, eps=1e-5)
        self.qkv, self.project = nn.Linear(features, 3 * features), nn.Linear(features, features)
        self.hidden, self.output = nn.Linear(features, 4 * features), nn.Linear(4 * features, features)

    def forward(self, x):
        batch, time, features = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, time, 3, self.heads, features // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.project(y.transpose(1, 2).reshape(batch, time, features))
        return x + self.output(F.gelu(self.hidden(self.norm2(x))))


class Transformer(nn.Module):
    def __init__(self, work):
        super().__init__()
        features = work.sizes["features"]
        self.embedding = nn.Embedding(work.classes, features)
        self.positions = nn.Parameter(torch.zeros(*work.inputs, features))
        blocks = [TransformerBlock(features, work.sizes["heads"]) for _ in range(work.sizes["blocks"])]
        self.blocks = nn.Sequential(*blocks)
        self.norm, self.dense = nn.LayerNorm(features, eps=1e-5), nn.Linear(features, work.classes)

    def forward(self, ids):
        return self.dense(self.norm(self.blocks(self.embedding(ids) + self.positions)))

    def load(self, weights):
        _put(self.embedding.weight, weights["embedding.embeddings"])
        _put(self.positions, weights["positions.embeddings"])
        features = self.dense.in_features
        for number, block in enumerate(self.blocks):
            name = f"blocks.{number}"
            attention = f"{name}.self_attention"
            for part in range(3):
                own = f"{attention}.{('query', 'key', 'value')[part]}_dense"
                rows = slice(part * features, (part + 1) * features)
                _put(block.qkv.weight.data[rows], weights[f"{own}.kernel"].reshape(features, features).T)
                _put(block.qkv.bias.data[rows], weights[f"{own}.bias"].ravel())
            _put(block.project.weight, weights[f"{attention}.output_dense.kernel"].reshape(features, features).T)
            _put(block.project.bias, weights[f"{attention}.output_dense.bias"])
            _layer_norm(block.norm1, weights, f"{name}.self_attention_norm")
            _layer_norm(block.norm2, weights, f"{name}.feedforward_norm")
            _dense(block.hidden, weights, f"{name}.hidden_dense")
            _dense(block.output, weights, f"{name}.output_dense")
        _layer_norm(self.norm, weights, "norm")
        _dense(self.dense, weights, "dense")


NETWORKS = {
    "mlp": MLP, "convnet": Convnet, "resnet": ResNet, "resnet50": FrozenResNet50, "lstm": Text, "gru": Text,
    "bilstm": Text, "transformer": Transformer,
}  # fmt: skip


def _norm(channels):
    return nn.BatchNorm2d(channels, eps=1.001e-5, momentum=0.01)


def _put(parameter, array):
    with torch.no_grad():
        parameter.copy_(torch.tensor(array))


def _dense(module, weights, name):
    _put(module.weight, weights[f"{name}.kernel"].T)
    _put(module.bias, weights[f"{name}.bias"])


def _conv(module, weights, name):
    _put(module.weight, weights[f"{name}.kernel"].transpose(3, 2, 0, 1))
    if module.bias is not None:
        _put(module.bias, weights[f"{name}.bias"])


def _layer_norm(module, weights, name):
    _put(module.weight, weights[f"{name}.gamma"])
    _put(module.bias, weights[f"{name}.beta"])


def _batch_norm(module, weights, name):
    _layer_norm(module, weights, name)
    _put(module.running_mean, weights[f"{name}.moving_mean"])
    _put(module.running_var, weights[f"{name}.moving_variance"])


def _reset_first(array):
    """Gates in the order z, r, a in that of PyTorch: r, z, a."""
    units = array.shape[-1] // 3
    z, r, a = (torch.tensor(array[..., k * units : (k + 1) * units]) for k in range(3))
    return torch.cat([r, z, a], -1).numpy()


class Contender:
    def __init__(self, work, weights, arrays, compiled=False):
        torch.set_num_threads(int(os.environ["BENCHMARK_THREADS"]))
        self.work, self.note = work, ""
        self.x, self.y = torch.from_numpy(arrays[0]), torch.from_numpy(arrays[1]).long()
        if len(work.inputs) == 3:
            # The same bytes: in PyTorch's order of dimensions, they are channels last.
            self.x = self.x.permute(0, 3, 1, 2)
        model = NETWORKS[work.network](work)
        model.load(weights)
        if len(work.inputs) == 3:
            model = model.to(memory_format=torch.channels_last)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if work.optimizer == "sgd":
            self.optimizer = torch.optim.SGD(trained, work.learning_rate, momentum=MOMENTUM)
        else:
            self.optimizer = torch.optim.Adam(trained, work.learning_rate, eps=EPSILON)
        # A new module trains, but for what its own `train` says.
        model.train()
        self.model = torch.compile(model) if compiled else model

    def _logits(self, x):
        with torch.autocast("cpu", torch.bfloat16, enabled=self.work.precision == "bfloat16"):
            return self.model(x).float()

    def _step(self, rows):
        loss = F.cross_entropy(self._logits(self.x[rows]).flatten(0, -2), self.y[rows].flatten())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def _batches(self, order=None):
        for first in range(0, self.work.examples, self.work.batch):
            rows = slice(first, first + self.work.batch)
            yield rows if order is None else order[rows]

    @torch.inference_mode()
    def _evaluate(self):
        self.model.eval()
        total = torch.zeros(())
        for rows in self._batches():
            total += F.cross_entropy(self._logits(self.x[rows]), self.y[rows], reduction="sum")
        return float(total) / self.work.examples

    @torch.inference_mode()
    def _predict(self):
        self.model.eval()
        return torch.cat([self._logits(self.x[rows]) for rows in self._batches()]).numpy()

    def first(self, steps):
        if self.work.task == "evaluate":
            return [self._evaluate()]
        if self.work.task == "predict":
            return self._predict()[:2].ravel()
        losses = []
        while len(losses) < steps:
            losses += [float(self._step(rows)) for rows, _ in zip(self._batches(), range(steps), strict=False)]
        return losses[:steps]

    def epochs(self, count):
        for _ in range(count):
            if self.work.task == "evaluate":
                self._evaluate()
            elif self.work.task == "predict":
                self._predict()
            else:
                for rows in self._batches(torch.randperm(self.work.examples)):
                    loss = self._step(rows)
                if not math.isfinite(float(loss)):
                    raise ValueError("the loss is not finite")
