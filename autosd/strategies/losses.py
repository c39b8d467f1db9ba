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


def kd(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """Temperature-scaled KL divergence of `student` from `teacher`, both logits `[B, K]`.

    Summed over classes, mean over the batch, times the temperature squared; the teacher is a
    constant. The gradient with respect to the student's logits is `T / B * (s - t)`.
    """
    target = tempered(teacher.detach(), temperature)
    prediction = tempered(student, temperature)
    divergence = F.kl_div(prediction, target, reduction="batchmean", log_target=True)
    return divergence * temperature**2
