"""Partners of the same class, found without asking the device for anything."""

import torch
from torch import Tensor, nn

from autosd.strategies.strategy import RunSpec

WIDE = 2**62


class SameClass(nn.Module):
    """Where the images of each class are in the training part.

    Buffers, none of them saved since the labels give them, all `[N]`: `order`, the positions
    sorted by class; and of each image its `rank` within its class, the `start` of its class in
    `order` and the `size` of its class.
    """

    order: Tensor
    rank: Tensor
    start: Tensor
    size: Tensor

    def __init__(self, run: RunSpec) -> None:
        super().__init__()
        labels = run.labels.to(run.device)
        order = torch.argsort(labels, stable=True)
        sizes = torch.bincount(labels, minlength=run.classes)
        start, size = (sizes.cumsum(0) - sizes)[labels], sizes[labels]
        rank = torch.empty_like(order)
        rank[order] = torch.arange(run.count, device=run.device) - start[order]
        for name, table in {"order": order, "rank": rank, "start": start, "size": size}.items():
            self.register_buffer(name, table, persistent=False)

    def draw(self, index: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """`count` others of the same class for each position of `index` `[n]`: `[n, count]`.

        Uniform over the class without the image itself; without replacement where the class
        suffices, with replacement where it does not. A class of one gives the image itself.
        """
        size, start, rank = self.size[index], self.start[index], self.rank[index]
        steps = _distinct(size - 1, count, generator)
        place = (rank[:, None] + steps + 1) % size[:, None]
        return self.order[start[:, None] + place]


def _distinct(others: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`[n, count]` numbers below `others` `[n]`, all different in a row that has so many.

    Floyd's sampling: the m-th number is drawn below `others - count + m + 1`, and a number that
    was there before becomes the largest possible, which cannot have been.
    """
    shape, device = (len(others), count), others.device
    draws = torch.randint(WIDE, shape, generator=generator, device=device)
    enough = others >= count
    chosen = torch.full(shape, -1, device=device)
    for m in range(count):
        bound = torch.where(enough, others - count + m + 1, others).clamp(min=1)
        number = draws[:, m] % bound
        seen = enough & (chosen == number[:, None]).any(dim=1)
        chosen[:, m] = torch.where(seen, bound - 1, number)
    return chosen
