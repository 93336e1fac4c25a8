"""Blocks under names of their own."""

from layers.base import Layer


class Stage(Layer):
    """Blocks one after the other, called `block0`, `block1`, …: variables go by `block0.conv1.kernel`.

    blocks: a list of at least one layer; each is called with `training`.
    """

    def __init__(self, blocks):
        super().__init__()
        for number, block in enumerate(blocks):
            setattr(self, f"block{number}", block)
        self._size = len(blocks)

    @property
    def blocks(self):
        """The blocks, in their order."""
        return [getattr(self, f"block{number}") for number in range(self._size)]

    def last_dimension(self, size):
        """The last block's."""
        for block in self.blocks:
            size = block.last_dimension(size)
        return size

    def __call__(self, x, training=False):
        """The last block's output."""
        for block in self.blocks:
            x = block(x, training=training)
        return x
