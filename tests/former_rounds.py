"""Rounds as earlier versions published them: all of the state in one file, and no snapshot."""

from __future__ import annotations

import json
from pathlib import Path

import safetensors.torch

from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.run_layout import CHECKPOINT, MOMENTUM, SNAPSHOT
from bilp.storage.verification import digest


def as_before(uri: str) -> None:
    """Give a round, in a folder, the files that it had then."""
    folder = Path(uri)
    state, momentum = (safetensors.torch.load((folder / file).read_bytes()) for file in (CHECKPOINT, MOMENTUM))
    content = safetensors.torch.save(dict(sorted({**state, **momentum}.items())))
    manifest = json.loads((folder / MANIFEST).read_bytes())
    for name in (CHECKPOINT, MOMENTUM, SNAPSHOT):
        (folder / name).unlink()
        del manifest["files"][name]
    (folder / CHECKPOINT).write_bytes(content)
    manifest["files"][CHECKPOINT] = {"sha256": digest(content), "size": len(content)}
    (folder / MANIFEST).write_text(json.dumps(manifest))
