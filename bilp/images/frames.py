"""Clips as rows of frames: what is done to pictures `[n, C, H, W]` is done to each frame of clips `[n, T, C, H, W]`."""

from __future__ import annotations

import torch
from torch import Tensor

from bilp.nets.clips import VIDEO_DIMENSIONS, frames_of

STRIP = 4
"""Frames of a clip that are shown beside each other."""
PAPER = 255


def are_clips(samples: Tensor) -> bool:
    """Whether a batch is of clips."""
    return samples.dim() == VIDEO_DIMENSIONS


def as_frames(samples: Tensor) -> Tensor:
    """Frames `[n * T, C, H, W]` of clips, those of a clip one after the other; pictures as they are."""
    return samples.flatten(0, 1) if are_clips(samples) else samples


def as_samples(frames: Tensor, like: Tensor) -> Tensor:
    """Frames `[n * T, ...]` as clips `[n, T, ...]` where `like` has clips of T frames, and as they are where it has pictures."""
    return frames.unflatten(0, (-1, frames_of(like))) if are_clips(like) else frames


def in_channels(samples: Tensor) -> Tensor:
    """Clips as pictures `[n, T * C, H, W]`, the frames of each behind one another; pictures as they are."""
    return samples.flatten(1, 2) if are_clips(samples) else samples


def out_of_channels(pictures: Tensor, like: Tensor) -> Tensor:
    """The reverse of `in_channels`, where `like` has clips."""
    return pictures.unflatten(1, (frames_of(like), -1)) if are_clips(like) else pictures


def middle_frames(samples: Tensor) -> Tensor:
    """The frame in the middle of each clip, `[n, C, H, W]`; pictures as they are."""
    return samples[:, frames_of(samples) // 2] if are_clips(samples) else samples


def side_by_side(sample: Tensor) -> Tensor:
    """One sample, uint8, as one picture `[C, H, W']`: of a clip `[T, C, H, W]` up to four frames beside each other, white between them.

    Of more frames than four, those in the middle of four equal parts are shown.
    """
    if not are_clips(sample[None]):
        return sample
    count = min(STRIP, len(sample))
    chosen = sample[[(2 * place + 1) * len(sample) // (2 * count) for place in range(count)]]
    gap = torch.full((*chosen.shape[1:3], 1), PAPER, dtype=sample.dtype)
    parts = [part for frame in chosen for part in (gap, frame)]
    return torch.cat(parts[1:], dim=2)
