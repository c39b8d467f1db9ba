"""Students made of a stem, stages, perhaps a neck, global pooling and one linear classifier."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from autosd.errors import AutosdError
from autosd.models.blocks import initialise
from autosd.models.pooling import pool
from autosd.models.student import Activations, StageSpec, Student, StudentSpec


class Architecture(ABC):
    """A family member as values; it makes the parts, the student puts them together.

    Attributes:
        stages: channels and reduction at the end of each stage.
        blocks: number of blocks of each stage.
        embedding: width of the classifier's input.
        pooled_last_tap: whether the embedding is the pooled last tap (no neck).
    """

    stages: tuple[StageSpec, ...]
    blocks: tuple[int, ...]
    embedding: int
    pooled_last_tap: bool = True

    @abstractmethod
    def stem(self, channels: int) -> nn.Module:
        """From the image's `channels` to the input of the first stage."""

    @abstractmethod
    def stage(self, index: int, blocks: int) -> nn.Module:
        """Stage `index` (0-based) with so many blocks."""

    def neck(self) -> nn.Module:
        """What stands between the last tap and the pooling."""
        return nn.Identity()


class LinearStudent(Student):
    """A student whose classifier is one linear layer, `head`."""

    head: nn.Linear

    def classifier(self, embedding: Tensor) -> Tensor:
        logits: Tensor = self.head(embedding)
        return logits

    def last_map_logits(self, tap: Tensor) -> Tensor:
        """Logits at each position of the last tap.

        Raises:
            AutosdError: the embedding is not the pooled last tap.
        """
        if not self.spec.pooled_last_tap:
            raise AutosdError(
                f"model {self.spec.name}: layers stand between its last map and its classifier, "
                "so there are no logits per position"
            )
        return F.conv2d(tap, self.head.weight[:, :, None, None], self.head.bias)


class StagedStudent(LinearStudent):
    """A network of one of our own families for images of `image_shape` `(C, H, W)`."""

    def __init__(
        self,
        name: str,
        architecture: Architecture,
        classes: int,
        image_shape: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.spec = StudentSpec(
            name=name,
            stages=architecture.stages,
            embedding=architecture.embedding,
            classes=classes,
            image_shape=image_shape,
            pooled_last_tap=architecture.pooled_last_tap,
            copies_stages=True,
            batch_norm=True,
        )
        self.stem = architecture.stem(image_shape[0])
        self.stages = nn.ModuleList(
            architecture.stage(index, count) for index, count in enumerate(architecture.blocks)
        )
        self.neck = architecture.neck()
        self.head = nn.Linear(architecture.embedding, classes)
        initialise(self)

    def activations(self, images: Tensor) -> Activations:
        features, taps = self.stem(images), []
        for stage in self.stages:
            features = stage(features)
            taps.append(features)
        embedding = pool(self.neck(features))
        return Activations(self.head(embedding), tuple(taps), embedding)

    def branch(self, tap: int, blocks: Sequence[int]) -> nn.Module:
        """Fresh later stages of the student's own blocks, widths and strides.

        Raises:
            AutosdError: not one number of blocks for each remaining stage.
        """
        first = check_blocks(self.spec, tap, blocks)
        stages = [self.architecture.stage(first + k, count) for k, count in enumerate(blocks)]
        branch = nn.Sequential(*stages)
        initialise(branch)
        return branch

    def blocks_per_stage(self) -> tuple[int, ...]:
        return self.architecture.blocks


def check_blocks(spec: StudentSpec, tap: int, blocks: Sequence[int]) -> int:
    """Index of the first stage after `tap`.

    Raises:
        AutosdError: no such tap, or not one positive number of blocks for each remaining stage.
    """
    count = len(spec.stages)
    if not 0 <= tap < count:
        raise AutosdError(f"model {spec.name}: no tap {tap}; there are 0 to {count - 1}")
    if len(blocks) != count - tap - 1 or any(number < 1 for number in blocks):
        raise AutosdError(
            f"model {spec.name}: a branch at tap {tap} needs {count - tap - 1} positive numbers of "
            f"blocks, not {list(blocks)}"
        )
    return tap + 1
