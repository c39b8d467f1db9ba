"""Loss terms that more than one strategy uses."""

import torch
from torch import Tensor
from torch.nn import functional as F


def full(tensor: Tensor) -> Tensor:
    """`tensor` in at least single precision; float64 passes unchanged."""
    half = tensor.dtype in (torch.float16, torch.bfloat16)
    return tensor.float() if half else tensor


def tempered(logits: Tensor, temperature: float) -> Tensor:
    """Log-probabilities of `logits` `[..., K]` softened by `temperature`."""
    return F.log_softmax(full(logits) / temperature, dim=-1)


def refine(rows: Tensor, predictions: Tensor, share: float) -> Tensor:
    """Target rows `[B, K]`, `share` of them replaced by `predictions` `[B, K]`."""
    return (1.0 - share) * rows + share * full(predictions)


def divergence(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """Temperature-scaled KL divergence of `student` from `teacher`, both logits `[B, K]`.

    Summed over classes, mean over the batch, times the temperature squared; gradients reach both.
    """
    target = tempered(teacher, temperature)
    prediction = tempered(student, temperature)
    batch_mean = F.kl_div(prediction, target, reduction="batchmean", log_target=True)
    return batch_mean * temperature**2


def kd(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """`divergence` with the teacher as a constant.

    The gradient with respect to the student's logits is `T / B * (s - t)`.
    """
    return divergence(teacher.detach(), student, temperature)


def mutual_kd(
    first: Tensor, second: Tensor, temperature: float, detach_targets: bool = True
) -> tuple[Tensor, Tensor]:
    """What `second` teaches `first`, and `first` `second`; as teachers constants, or not."""
    term = kd if detach_targets else divergence
    return term(second, first, temperature), term(first, second, temperature)
