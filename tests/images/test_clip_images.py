"""What is done to images is done to clips with one draw for all frames, so that a clip of equal frames stays one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bilp.causal import ClassBatch, ite
from bilp.config import NetworkConfig
from bilp.config.augmentations import ALL_FAMILIES, AUGMENTATIONS, OPERATIONS
from bilp.config.decode import DecodeConfig
from bilp.images import augment
from bilp.images.augment import AugParams
from bilp.images.cutmix import draw_mix, mix_images
from bilp.images.dc_augment import draw_operations, operate
from bilp.images.frames import middle_frames, side_by_side
from bilp.images.multiformation import decode_class, gray, mosaic
from bilp.images.resampling import center_of_enlarged
from bilp.matching import FeatureMatching
from bilp.nets import Network, build, initialize
from bilp.seeds import generator

SIDE, FRAMES = (16, 13), 3


def clips(count: int = 4, *path: str | int) -> Tensor:
    return torch.randn(count, FRAMES, 3, *SIDE, generator=generator(0, "clips", *path))


def still(pictures: Tensor) -> Tensor:
    """Clips of equal frames `[n, T, C, H, W]`."""
    return pictures.unsqueeze(1).repeat(1, FRAMES, *[1] * (pictures.dim() - 1))


def frame_by_frame(batch: Tensor, way: Callable[[Tensor], Tensor]) -> Tensor:
    """What becomes of the clips that are made of the first frames, the second ones, ..."""
    return torch.stack([way(frame) for frame in batch.unbind(1)], dim=1)


def drawn(families: list[str], count: int, *path: str | int) -> AugParams:
    params = augment.draw_combined(families, SIDE, generator(1, *path), count)
    assert params is not None
    return params


@pytest.mark.parametrize("rows", [False, True], ids=["families", "rows"])
@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("families", [*([name] for name in AUGMENTATIONS), list(ALL_FAMILIES)], ids=lambda names: "-".join(names))
def test_every_frame_meets_what_was_drawn_for_its_clip(
    families: list[str], count: int, rows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if rows:
        monkeypatch.setattr(augment, "REFERENCE", "nothing")
    params, batch = drawn(families, count, *families), clips(4, *families)
    found = augment.apply(batch, params)
    assert not torch.equal(found, batch)
    wanted = frame_by_frame(batch, lambda frames: augment.apply(frames, params))
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=2e-6)
    (sent,) = augment.send([params], SIDE, "cpu")
    torch.testing.assert_close(augment.apply(batch, sent), wanted, rtol=1e-6, atol=2e-6)
    equal = augment.apply(still(batch[:, 0]), params)
    torch.testing.assert_close(equal, still(augment.apply(batch[:, 0], params)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("rows", [False, True], ids=["families", "rows"])
def test_groups_of_clips_have_draws_of_their_own(rows: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if rows:
        monkeypatch.setattr(augment, "REFERENCE", "nothing")
    params = [drawn(["color", "crop"], 1, "one"), None, drawn(["rotate"], 2, "two")]
    batch, sizes = clips(5), [2, 1, 2]
    found = augment.apply_each(batch, params, sizes)
    wanted = torch.cat([augment.apply(part, own) for part, own in zip(batch.split(sizes), params, strict=True)])
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=2e-6)
    torch.testing.assert_close(found[2], batch[2], rtol=1e-6, atol=2e-6)


def test_draws_for_another_number_of_clips_are_refused() -> None:
    with pytest.raises(ValueError, match="was drawn for 3 images, not for 1 or 4"):
        augment.apply(clips(4), drawn(["scale"], 3))
    with pytest.raises(ValueError, match="was drawn for 12 images, not for 1 or 4"):
        augment.apply(clips(4), drawn(["scale"], 4 * FRAMES))


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_of_dc_change_every_frame_alike(name: str) -> None:
    operations = draw_operations([name], 4, generator(2, name))
    pictures = clips()[:, 0]
    found = operate(still(pictures), operations)
    assert not torch.equal(found, still(pictures))
    torch.testing.assert_close(found, still(operate(pictures, operations)), rtol=0, atol=1e-6)


def test_a_box_is_the_same_in_every_frame() -> None:
    mix, batch = draw_mix(1.0, SIDE, 4, generator(3)), clips()
    assert mix is not None and 0.0 < mix.share < 1.0
    assert torch.equal(mix_images(batch, mix), frame_by_frame(batch, lambda frames: mix_images(frames, mix)))


@pytest.mark.parametrize("config", [DecodeConfig(factor=2), DecodeConfig(factor=3, kind="multi")], ids=["single", "multi"])
def test_a_stored_clip_stands_for_several(config: DecodeConfig) -> None:
    batch, filling = clips(), gray((0.2, 0.4, 0.6), (0.5, 0.3, 0.2))
    found = decode_class(batch, config, filling)
    assert len(found) == config.count(4)
    assert torch.equal(found, frame_by_frame(batch, lambda frames: decode_class(frames, config, filling)))
    assert torch.equal(mosaic(batch, 2), frame_by_frame(batch, lambda frames: mosaic(frames, 2)))


def test_the_center_of_every_frame_is_what_counts() -> None:
    batch = torch.randn(2, FRAMES, 3, 63, 70, generator=generator(4))
    assert torch.equal(center_of_enlarged(batch), frame_by_frame(batch, center_of_enlarged))
    assert center_of_enlarged(batch).shape == batch.shape


def test_what_is_shown_of_a_clip() -> None:
    clip = torch.arange(9, dtype=torch.uint8).view(9, 1, 1, 1).expand(9, 3, 2, 2)
    assert side_by_side(clip)[0, 0].tolist() == [1, 1, 255, 3, 3, 255, 5, 5, 255, 7, 7]
    assert side_by_side(clip[:2])[0, 0].tolist() == [0, 0, 255, 1, 1]
    assert torch.equal(side_by_side(clip[3]), clip[3])
    assert middle_frames(clip[None])[0, 0, 0].tolist() == [4, 4]
    assert torch.equal(middle_frames(clip), clip)


def networks(side: int) -> tuple[Network, Network]:
    """The ConvNet, and the same on frames."""
    shape = {"width": 6, "depth": 2}
    pictures = build(NetworkConfig.model_validate({"name": "convnet", **shape}), (3, side, side), 3)
    frames = build(NetworkConfig.model_validate({"name": "video_convnet_mean", **shape}), (FRAMES, 3, side, side), 3)
    for network in (pictures, frames):
        initialize(network, generator(5))
    return pictures.double(), frames.double()


@pytest.mark.parametrize("family", ALL_FAMILIES)
def test_a_clip_of_equal_frames_has_the_gradient_and_the_effect_of_its_picture(family: str) -> None:
    """Each frame has one T-th of its picture's gradient; an effect, which is a length, is one over the root of T of it."""
    pictures, frames = networks(16)
    matching, labels = FeatureMatching(), torch.zeros(4, dtype=torch.int64)
    drawn_once = augment.draw([family], (16, 16), generator(6, family))
    stream = generator(7)
    real, synthetic = (torch.randn(4, 3, 16, 16, generator=stream, dtype=torch.float64) for _ in range(2))
    gradients, effects = [], []
    for network, samples, points in ((pictures, real, synthetic), (frames, still(real), still(synthetic))):
        leaf = points.clone().requires_grad_()
        with torch.enable_grad():
            entering = augment.apply(leaf, drawn_once)
        mean = matching.real_mean(network, augment.apply(samples, drawn_once), labels)
        _, gradient = matching.distances_and_gradient(network, entering.detach(), labels, [mean])
        gradients.append(torch.autograd.grad(entering, leaf, gradient)[0])
        batch = ClassBatch((augment.apply(samples, drawn_once), labels), (points, labels), lambda x: augment.apply(x, drawn_once))
        effects.append(ite(matching, network, batch))
    picture, clip = gradients
    assert float(picture.abs().max()) > 0
    for frame in clip.unbind(1):
        torch.testing.assert_close(frame * FRAMES, picture, rtol=1e-6, atol=1e-6 * float(picture.abs().max()))
    torch.testing.assert_close(effects[1] * FRAMES**0.5, effects[0], rtol=1e-6, atol=0)
