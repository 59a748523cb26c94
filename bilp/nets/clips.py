"""Networks of single pictures on videos: every frame goes through the same layers, and its features are averaged over time."""

from __future__ import annotations

from torch import Tensor, nn

VIDEO_DIMENSIONS = 5
"""Of a batch of videos `[B, T, C, H, W]`."""


class FrameMean(nn.Module):
    """Mean over time of what a network of pictures says about each frame.

    Inside, the frames of a sample are rows of their own: consecutive, T for each sample. `bilp.matching.recording` relies on it.
    """

    def __init__(self, frame: nn.Module) -> None:
        """`frame` turns pictures `[n, C, H, W]` into features `[n, F]`."""
        super().__init__()
        self.frame = frame

    def forward(self, videos: Tensor) -> Tensor:
        """`[B, T, C, H, W]` to `[B, F]`."""
        batch, frames = videos.shape[:2]
        features: Tensor = self.frame(videos.flatten(0, 1))
        apart: Tensor = features.unflatten(0, (batch, frames))
        return apart.mean(dim=1)


def frames_of(samples: Tensor) -> int:
    """Pictures in one sample of a batch: T for videos `[B, T, C, H, W]`, 1 for images."""
    return samples.shape[1] if samples.dim() == VIDEO_DIMENSIONS else 1
