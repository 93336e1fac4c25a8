"""The recipe of `configs/cifar10_fast.cfg` in PyTorch, as its paper has it: what it makes of the pictures at hand.

    pip install -e ".[benchmarks]" && python benchmarks/fast_cifar_torch.py --data_dir=<data_batch_1.bin …>

It knows nothing of ours: where both end at the same accuracy, pictures and recipe are the limit, and not the engine.
The last 5,000 pictures are held out. Prints training and held-out accuracy after each epoch, and the latter with six
views at the end. On the original pictures the paper has 0.940 after 9.9 epochs of all 50,000.
Source: Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv 2404.00498, sections 3 and 4, listing 4.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

HELD_OUT, SIDE = 5000, 32
MOMENTUM, NORM_MOMENTUM, BIAS_RATE, SMOOTHING = 0.85, 0.6, 64, 0.2
# The paper's rate and decay are for the loss of a thousand examples, whatever the batch.
RATE, DECAY = 11.5, 0.0153
EXAMPLES = 1024
START, PEAK, END = 0.2, 0.23, 0.07


class Block(nn.Module):
    """Two convolutions that begin as the identity, a pooling between them; the norms have no gamma."""

    def __init__(self, channels, filters, norm_momentum):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(n, filters, 3, padding="same", bias=False) for n in (channels, filters))
        self.norm1, self.norm2 = (nn.BatchNorm2d(filters, 1e-12, 1 - norm_momentum) for _ in range(2))
        for conv, norm in ((self.conv1, self.norm1), (self.conv2, self.norm2)):
            nn.init.dirac_(conv.weight[: conv.in_channels])
            norm.weight.requires_grad = False

    def forward(self, x):
        x = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return F.gelu(self.norm2(self.conv2(x)))


class Net(nn.Module):
    """Whitened patches, blocks, the largest value of each channel, logits over nine."""

    def __init__(self, filters, norm_momentum, images):
        super().__init__()
        self.whitening = nn.Conv2d(3, 24, 2)
        widths = [24, *filters]
        self.blocks = nn.Sequential(*(Block(*pair, norm_momentum) for pair in zip(widths, filters, strict=False)))
        self.head = nn.Linear(filters[-1], 10, bias=False)
        patches = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12).double()
        values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        half = (vectors / torch.sqrt(values + 5e-4)).T.reshape(12, 3, 2, 2).float()
        self.whitening.weight = nn.Parameter(torch.cat([half, -half]), requires_grad=False)
        nn.init.zeros_(self.whitening.bias)

    def forward(self, x):
        return self.head(self.blocks(F.gelu(self.whitening(x))).amax((2, 3))) / 9


class Slow:
    """Lookahead's weights, statistics included."""

    def __init__(self, net):
        self.net, self.values = net, {name: value.clone() for name, value in net.state_dict().items()}

    @torch.no_grad()
    def follow(self, kept):
        for name, value in self.net.state_dict().items():
            if value.dtype.is_floating_point:
                value.copy_(self.values[name].lerp_(value, 1 - kept))


def pictures(folder):
    """(images of mean 0 and variance 1, labels) of the archive's five files."""
    rows = [np.fromfile(Path(folder, f"data_batch_{n}.bin"), np.uint8) for n in range(1, 6)]
    rows = torch.from_numpy(np.concatenate(rows).reshape(-1, 1 + 3 * SIDE * SIDE))
    images = rows[:, 1:].reshape(-1, 3, SIDE, SIDE).float() / 255
    deviation, mean = torch.std_mean(images[:-HELD_OUT], (0, 2, 3), keepdim=True)
    return (images - mean) / deviation, rows[:, 0].long()


def cropped(images, padding):
    """Each moved by up to `padding` pixels, mirrored beyond its edge."""
    padded, count = F.pad(images, (padding,) * 4, "reflect"), len(images)
    rows, columns = (torch.randint(0, 2 * padding + 1, [count, 1]) + torch.arange(SIDE) for _ in range(2))
    each, channels = torch.arange(count)[:, None, None, None], torch.arange(3)[:, None, None]
    return padded[each, channels, rows[:, None, :, None], columns[:, None, None, :]]


def six_views(net, images):
    """The mean logits of a picture and its mirror image, and with as much weight of both moved by a pixel each way."""
    padded = F.pad(images, (1,) * 4, "reflect")
    moved = [padded[:, :, :-2, :-2], padded[:, :, 2:, 2:]]
    return sum(
        weight * (net(view) + net(view.flip(-1)))
        for weight, view in zip((0.25, 0.125, 0.125), (images, *moved), strict=True)
    )


def accuracy(logits_of, images, labels):
    """Of a net's or a function's logits."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = torch.cat([logits_of(part).float().argmax(1) for part in images.split(500)])
    return (found == labels).float().mean().item()


def optimizer(net, batch_size):
    """SGD on the sum of a batch's losses: the biases of norms are fast, all weights decay alike."""
    scale = EXAMPLES * (1 + 1 / (1 - MOMENTUM))
    rate, decay = RATE / scale, DECAY * batch_size / scale
    parts = {True: [], False: []}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            parts["norm" in name].append(parameter)
    groups = [
        {"params": parts[fast], "lr": rate * (BIAS_RATE if fast else 1), "weight_decay": decay / rate}
        for fast in (True, False)
    ]
    groups[0]["weight_decay"] /= BIAS_RATE
    return torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True)


def train(net, images, labels, flags, tell):
    """Trains, and tells after each epoch of the epoch and the training accuracy."""
    steps_per_epoch = len(images) // flags.batch_size
    total = math.ceil(steps_per_epoch * flags.epochs)
    rule, slow, mirrored = optimizer(net, flags.batch_size), Slow(net), torch.rand(len(images)) < 0.5
    triangle = [0, int(PEAK * total), total]
    schedule = torch.optim.lr_scheduler.LambdaLR(rule, lambda n: float(np.interp(n, triangle, [START, 1, END])))
    every = max(1, 5 * EXAMPLES // flags.batch_size)
    for epoch in range(math.ceil(flags.epochs)):
        net.train()
        net.whitening.bias.requires_grad = epoch < 3
        order, right, seen = torch.randperm(len(images)), 0, 0
        for step in range(epoch * steps_per_epoch, min(total, (epoch + 1) * steps_per_epoch)):
            rows = order[step % steps_per_epoch * flags.batch_size :][: flags.batch_size]
            batch = images[rows]
            batch = torch.where((mirrored[rows] ^ bool(epoch % 2))[:, None, None, None], batch.flip(-1), batch)
            batch = cropped(batch, flags.padding).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                logits = net(batch)
            loss = F.cross_entropy(logits.float(), labels[rows], label_smoothing=SMOOTHING, reduction="sum")
            rule.zero_grad()
            loss.backward()
            rule.step()
            schedule.step()
            if (step + 1) % every == 0:
                slow.follow(0.95**5 * ((step + 1) / total) ** 3)
            right, seen = right + (logits.argmax(1) == labels[rows]).sum().item(), seen + len(rows)
        if epoch + 1 >= flags.epochs:
            slow.follow(1)
        net.eval()
        tell(epoch + 1, right / seen)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", required=True, help="of the five binary files of the official archive")
    parser.add_argument("--epochs", type=float, default=9.9)
    parser.add_argument("--batch_size", type=int, default=EXAMPLES)
    parser.add_argument("--filters", type=lambda text: [int(n) for n in text.split(",")], default=[64, 256, 256])
    parser.add_argument("--padding", type=int, default=2, help="pixels that a picture is moved by at most")
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    torch.manual_seed(flags.seed)
    images, labels = pictures(flags.data_dir)
    held_out = images[-HELD_OUT:], labels[-HELD_OUT:]
    images, labels = images[:-HELD_OUT], labels[:-HELD_OUT]
    net = Net(flags.filters, NORM_MOMENTUM ** (flags.batch_size / EXAMPLES), images[:5000])
    net, begun = net.to(memory_format=torch.channels_last), time.perf_counter()

    def tell(epoch, right):
        print(
            f"epoch {epoch}: training {right:.4f}, held out {accuracy(net, *held_out):.4f}, "
            f"{time.perf_counter() - begun:.0f} s",
            flush=True,
        )

    train(net, images, labels, flags, tell)
    print(f"six views: {accuracy(lambda part: six_views(net, part), *held_out):.4f}")


if __name__ == "__main__":
    main()
