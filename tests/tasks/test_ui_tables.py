"""Tables in Prefect's UI stay small, however many classes there are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bilp.text.escaping import markdown
from tasks import ui_artifacts
from tasks.ui_artifacts import MOST_CLASSES, show_kept


@pytest.mark.parametrize(
    ("classes", "told"), [(MOST_CLASSES, ""), (1000, "The first 100 classes; the page lists the 900 others as well. ")]
)
def test_of_many_classes_the_first_are_listed(classes: int, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"class {c}" for c in range(classes)]
    facts: dict[str, Any] = {"class_names": names, "drop": "high", "criterion": "el2n"}
    facts |= {"total_per_class": [9] * classes, "kept_per_class": [4] * classes, "highest_kept_per_class": [0.5] * classes}
    opened = SimpleNamespace(manifest=SimpleNamespace(facts=facts))
    monkeypatch.setattr(ui_artifacts, "open_artifact", lambda uri, kind: opened)
    shown: list[tuple[list[dict[str, Any]], str]] = []
    monkeypatch.setattr(ui_artifacts.TaskRunContext, "get", classmethod(lambda cls: object()))
    monkeypatch.setattr(ui_artifacts, "create_table_artifact", lambda rows, key, description: shown.append((rows, description)))
    show_kept("selections/5555555555555555")
    ((rows, description),) = shown
    assert [row["class"] for row in rows] == names[:MOST_CLASSES]
    assert rows[0]["samples"] == 9 and rows[0]["kept"] == 4 and rows[0]["highest score kept"] == 0.5
    assert description.startswith(markdown(f"{told}Selection by el2n"))
