"""Every method has a slow restatement that tests and benchmarks compare it with."""

from __future__ import annotations

from benchmarks.references import REFERENCES
from bilp.distill.loops.registry import LOOPS


def test_every_method_of_this_package_has_a_reference() -> None:
    assert set(REFERENCES) == set(LOOPS)
