"""The page of a list of suspects: one HTML file that needs nothing but itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from markupsafe import Markup
from PIL import Image

from bilp.config.shapes import frames_in
from bilp.config.suspects import LABEL_SCORES, LabelScore
from bilp.images.frames import STRIP, side_by_side
from bilp.suspects.worst import Suspect
from bilp.text.page_templates import page_template

LARGEST = 160
"""Pixels of the longer side that pictures are reduced to."""
WIDE, HIGH = 120.0, 44.0
"""Size of a curve of loss."""


def page(name: str, worst: Sequence[Suspect], facts: Mapping[str, Any], by: LabelScore, key: str) -> str:
    """The text of the file.

    Args:
        name: of the data set.
        worst: what is shown, the most suspicious first.
        facts: what the artifact states, see `bilp.artifacts.facts.SuspectsFacts`.
        by: what the list is ranked by.
        key: of the artifact.
    """
    top = max((float(suspect.losses.max()) for suspect in worst), default=1.0)
    rows = [(suspect, _uri(suspect.image), _curve(suspect.losses, top)) for suspect in worst]
    quality = [(_title(row["score"]), row) for row in facts.get("quality", ())]
    return page_template("suspects.html.j2", "bilp.suspects").render(name=name, rows=rows, facts=facts, by=by, key=key, quality=quality)


def _title(score: str) -> str:
    return LABEL_SCORES[score].title if score in LABEL_SCORES else score


def _uri(image: np.ndarray) -> str:
    frames, image = min(STRIP, frames_in(image.shape)), side_by_side(torch.from_numpy(image)).numpy()
    picture = Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
    picture.thumbnail((frames * LARGEST, LARGEST), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _curve(losses: np.ndarray, top: float) -> Markup:
    """Loss over the epochs, from 0 to the greatest loss of any curve of the page."""
    across = np.linspace(3, WIDE - 3, max(len(losses), 2))
    heights = HIGH - 3 - (HIGH - 6) * np.append(losses, losses[-1])[: len(across)] / max(top, 1e-9)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, heights, strict=True))
    told = f"loss {losses[0]:.2f} after the first epoch, {losses[-1]:.2f} after the last of {len(losses)}"
    return Markup('<svg viewBox="0 0 {} {}" width="{}" height="{}" role="img"><title>{}</title><polyline points="{}"/></svg>').format(
        WIDE, HIGH, WIDE, HIGH, told, points
    )
