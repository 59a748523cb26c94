"""Which estimator measures a batch fastest without ranking it worse: what `auto` means."""

from __future__ import annotations

from bilp.causal.sketch import directions_per_image

# Costs in products with J^T, per image, measured on one CPU core: networks of width 32 and 128, DC and DM.
PUSHFORWARD = 2.5
INNER_PRODUCT = 0.003  # of one sample with one product of J
# The sketch must save this much to be tried: it is an estimate, and its time is lost where it turns out too rough.
WORTH = 3.0


def prefers_sketch(samples: int, images: int, size: int, values: int, directions: int) -> bool:
    """Whether the sketch is clearly cheaper than the exact form.

    Args:
        samples: Real samples that are measured.
        images: Synthetic images of the class.
        size: Values of one image.
        values: Values of a vector of the matching.
        directions: Of the sketch, all images together.
    """
    exact = min(samples, values) * images
    leading, rest = directions_per_image(directions, images, size, samples)
    columns = (leading + rest) * images
    sketch = leading * images + (PUSHFORWARD + INNER_PRODUCT * samples) * columns
    return WORTH * sketch < exact
