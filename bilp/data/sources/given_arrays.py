"""What people have in Python, as images and labels of a source: NumPy arrays, torch tensors, and data sets of (image, label)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from bilp.data.contents import SPLITS, Labels
from bilp.data.decode import Conversion, from_picture
from bilp.data.opening import DecodeError
from bilp.data.sources.arrays import Arrays, Side
from bilp.errors import DataError

Layout = Literal["NHW", "NCHW", "NHWC", "NTCHW", "NTHWC"]
AXES: dict[Layout, int] = {layout: len(layout) for layout in get_args(Layout)}
"""Number of axes of each layout."""
COLORS = (1, 3)
STEPS = 255
ROUNDING = 1e-3
"""How far a float may lie from a whole number of 255ths and still be a pixel that was divided by 255."""


def arrays_of(
    images: Any,
    labels: Any,
    class_names: Sequence[str] | None = None,
    test: tuple[Any, Any] | None = None,
    layout: Layout | None = None,
) -> Arrays:
    """Images uint8 `[N, H, W]`, `[N, C, H, W]` or `[N, H, W, C]` (C is 1 or 3) with labels `[N]`, as the arrays of a source.

    With one axis more they are clips of T frames, `[N, T, C, H, W]` or `[N, T, H, W, C]`.

    Raises DataError, in one line, for what has another shape or type, for labels that fit neither images nor names, and for a
    layout that cannot be told from the shape.

    Args:
        images: NumPy array or torch tensor.
        labels: whole numbers from 0, or names of classes.
        class_names: in label order; by default the numbers themselves, or the names among the labels, sorted.
        test: images and labels of the test split; by default one is held out.
        layout: order of the axes, where two are possible.
    """
    pairs = [(images, labels)] if test is None else [(images, labels), _pair(test)]
    names = _names([pair[1] for pair in pairs], class_names)
    sides = {}
    for split, (pixels, side_labels) in zip(SPLITS, pairs, strict=False):
        found = _pixels(pixels, layout, split)
        sides[split] = Side(found, _numbers(side_labels, names, len(found), split))
    if len({side.clips for side in sides.values()}) > 1:
        raise DataError("one of the training and test splits has clips, and the other pictures: give both the same axes")
    return Arrays(names, sides)


def items_of(data: Any, class_names: Sequence[str] | None = None, test: Any = None) -> Arrays:
    """The items of a `torch.utils.data.Dataset` of (image, label), as the arrays of a source.

    An image is a PIL image, which becomes what its file would (`bilp.data.decode`), an array uint8 `[H, W]` or `[H, W, C]`, or a tensor
    `[H, W]` or `[C, H, W]`, uint8 or float in [0, 1] as ToTensor makes it. Transforms must not be random, or each reading is another
    data set. Raises DataError, with the number of the item, for anything else and for sizes that differ.

    Args:
        data: the training split.
        class_names: in label order; by default what the data set calls `classes`, or the numbers themselves.
        test: the test split, a data set as well; by default one is held out.
    """
    read = [_items(one, split) for split, one in zip(SPLITS, [data] if test is None else [data, test], strict=False)]
    named = class_names if class_names is not None else _classes_of(data)
    names = _names([labels for _, labels in read], named)
    sides = {
        split: Side(pixels, _numbers(labels, names, len(pixels), split), items=True)
        for split, (pixels, labels) in zip(SPLITS, read, strict=False)
    }
    return Arrays(names, sides)


def _pair(test: Any) -> tuple[Any, Any]:
    if not isinstance(test, tuple | list) or len(test) != 2:
        raise DataError("test: give a pair of images and labels, such as test=(x_test, y_test)")
    return test[0], test[1]


def _pixels(given: Any, layout: Layout | None, split: str) -> NDArray[np.uint8]:
    """uint8 [N, H, W] or [N, H, W, 3], or [N, T, H, W, C] of clips."""
    array = _array(given, f"{split} images")
    if array.dtype != np.uint8:
        raise DataError(f"{split} images are {_described(array)}: give uint8 pixels of 0 to {STEPS}, {_as_pixels(array)}")
    if layout is not None and layout not in AXES:
        raise DataError(f"unknown layout {layout!r}: use {', '.join(AXES)}")
    if array.ndim not in AXES.values() or 0 in array.shape[1:]:
        raise DataError(
            f"{split} images have shape {list(array.shape)}: give [N, H, W], [N, C, H, W] or [N, H, W, C], with T behind N of clips"
        )
    chosen = layout or _layout(array.shape, split)
    axis = chosen.find("C") if "C" in chosen else None
    if AXES[chosen] != array.ndim or (axis is not None and array.shape[axis] not in COLORS):
        raise DataError(f"{split} images have shape {list(array.shape)}, which is not {chosen} of 1 or 3 channels")
    if axis is not None:
        array = np.moveaxis(array, axis, -1)
    return array[..., 0] if array.ndim == 4 and array.shape[3] == 1 else array


def _layout(shape: tuple[int, ...], split: str) -> Layout:
    if len(shape) == 3:
        return "NHW"
    fitting = [layout for layout, axes in AXES.items() if axes == len(shape)]
    possible = [layout for layout in fitting if shape[layout.find("C")] in COLORS]
    if len(possible) == 1:
        return possible[0]
    first, second = fitting
    told = f"may be both {first} and {second}: state layout={first!r} or {second!r}" if possible else "has no axis of 1 or 3 channels"
    raise DataError(f"{split} images: shape {list(shape)} {told}")


def _as_pixels(array: NDArray[Any]) -> str:
    """How an array of another type becomes pixels, or what is in the way."""
    if array.dtype.kind == "f":
        wrong = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1)) if array.size else np.array([])
        if len(wrong):
            return f"without NaN and infinite values (image {wrong[0]} has some)"
        if array.size and array.min() >= 0 and array.max() <= 1:
            return f"such as (images * {STEPS}).round() as uint8"
        return "before any normalization"
    return "such as images.astype('uint8') if they are such pixels"


def _described(array: NDArray[Any]) -> str:
    return f"{array.dtype} of {array.min()} to {array.max()}" if array.size and array.dtype.kind in "fiub" else str(array.dtype)


def _array(given: Any, what: str) -> NDArray[Any]:
    try:
        array = np.asarray(given.detach().cpu().numpy() if isinstance(given, torch.Tensor) else given)
        is_text = array.dtype.kind in "OT" and array.size > 0 and all(isinstance(value, str) for value in array.ravel())
        return array.astype(np.str_) if is_text else array  # pandas keeps texts as objects
    except (TypeError, NotImplementedError) as error:  # bfloat16, sparse tensors, tensors without data
        raise DataError(f"{what} cannot be read as an array ({error}): give a plain array or a dense tensor") from error
    except ValueError as error:  # rows of different lengths
        raise DataError(f"{what} are no array: rows differ in length") from error


def _names(labels: Sequence[Any], given: Sequence[str] | None) -> tuple[str, ...]:
    """The names of classes, in label order."""
    if given is not None:
        if isinstance(given, str):
            raise DataError(f"class_names is the text {given!r}: give a list of names")
        return tuple(map(str, given))
    found = [_array(side, "labels") for side in labels]
    if all(side.dtype.kind in "US" for side in found):
        return tuple(sorted({str(name) for side in found for name in side.ravel().tolist()}))
    most = max((int(side.max()) for side in found if side.size and side.dtype.kind in "iu"), default=-1)
    if most >= sum(side.size for side in found):
        raise DataError(f"label {most} makes more classes than there are images: number the classes from 0, or give their names as labels")
    return tuple(str(number) for number in range(most + 1))


def _numbers(given: Any, names: tuple[str, ...], images: int, split: str) -> Labels:
    """int64 [N]."""
    labels = _array(given, f"{split} labels")
    if labels.shape != (images,):
        raise DataError(f"{split}: {images} images and labels of shape {list(labels.shape)}: give one label for each image")
    if labels.dtype.kind in "US":
        place = {name: number for number, name in enumerate(names)}
        unknown = next((str(name) for name in labels.tolist() if str(name) not in place), None)
        if unknown is not None:
            raise DataError(f"{split}: label {unknown!r} is none of the {len(names)} class names: add it, or correct the label")
        return np.array([place[str(name)] for name in labels.tolist()], dtype=np.int64)
    if labels.dtype.kind not in "iu":
        raise DataError(f"{split} labels are {labels.dtype}: give whole numbers from 0, or names of classes")
    return labels.astype(np.int64)


def _items(data: Any, split: str) -> tuple[NDArray[np.uint8], list[Any]]:
    """Images [N, H, W] or [N, H, W, 3] of a data set, and its labels."""
    images: list[NDArray[np.uint8]] = []
    labels: list[Any] = []
    for number in range(len(data)):
        item, where = data[number], f"{split} item {number}"
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(f"{where} is no pair of image and label: give a data set of (image, label)")
        image = _image(item[0], where)
        if images and image.shape[:2] != images[0].shape[:2]:
            sizes = " and ".join(f"{one.shape[1]} x {one.shape[0]}" for one in (images[0], image))
            raise DataError(f"{where} differs in size from the first ({sizes}): resize images in the data set's transform")
        images.append(image)
        labels.append(item[1].item() if isinstance(item[1], torch.Tensor | np.generic) else item[1])
    if not images:
        raise DataError(f"{split}: the data set is empty")
    if len({image.ndim for image in images}) > 1:
        images = [image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2) for image in images]
    return np.stack(images), labels


def _image(given: Any, where: str) -> NDArray[np.uint8]:
    """One image [H, W] or [H, W, 3]."""
    if isinstance(given, Image.Image):
        try:
            decoded = from_picture(given.copy(), Conversion())
        except DecodeError as error:
            raise DataError(f"{where}: {error}") from error
        return decoded[0] if len(decoded) == 1 else decoded.transpose(1, 2, 0)
    if isinstance(given, torch.Tensor):
        array = given.detach().cpu().numpy()
        array = array.transpose(1, 2, 0) if array.ndim == 3 else array
    elif isinstance(given, np.ndarray):
        array = given
    else:
        raise DataError(f"{where}: {type(given).__name__} is no image: give PIL images, arrays or tensors (transforms.ToTensor makes some)")
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] not in COLORS):
        raise DataError(
            f"{where}: an image of shape {list(given.shape)} has not 1 or 3 channels: give [H, W], arrays [H, W, C] or tensors [C, H, W]"
        )
    pixels = _whole(array, where)
    return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels


def _whole(array: NDArray[Any], where: str) -> NDArray[np.uint8]:
    """The uint8 pixels that an image holds, also divided by 255."""
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "f":
        steps = array.astype(np.float64) * STEPS
        whole = np.rint(steps)
        if np.isfinite(steps).all() and whole.min() >= 0 and whole.max() <= STEPS and np.abs(steps - whole).max() < ROUNDING:
            return whole.astype(np.uint8)
    raise DataError(f"{where} is {_described(array)}: give uint8 pixels, or such divided by {STEPS}: leave Normalize out of the transform")


def _classes_of(data: Any) -> Sequence[str] | None:
    """The names that a data set, or the one that it is a part of, has for its classes."""
    names = getattr(data, "classes", None)
    if names is None and hasattr(data, "dataset"):
        return _classes_of(data.dataset)
    return [str(name) for name in names] if isinstance(names, list | tuple) else None
