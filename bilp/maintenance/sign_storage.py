"""Sign what lies in a storage already: from before it had a key, or signed with a key that is to be retired."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from bilp.artifacts import layout, signing
from bilp.artifacts.manifest_file import MANIFEST, Manifest
from bilp.artifacts.run_layout import RECORD
from bilp.distill.run import Run
from bilp.errors import DamagedArtifact, MissingArtifact, PluginMissing
from bilp.evaluate.training_cache import Part
from bilp.storage import objects, strict_json
from bilp.storage.objects import Uri, as_uri
from bilp.storage.verification import again

_DOCUMENTS: dict[str, type[Manifest | Run]] = {MANIFEST: Manifest, RECORD: Run}


def sign_all(uri: Uri) -> list[str]:
    """Sign, with the first key, every manifest, record of a run and finished training at or below `uri`; the URIs of what was signed now.

    Nothing is compared with anything: who calls this answers for what lies there. Files are compared with the checksums of a signed
    manifest when they are used. Raises ConfigError without a key, MissingArtifact if there is nothing to sign, and DamagedArtifact for
    what should be such a document and is none; what was signed before that stays signed.
    """
    signing.keys_required()
    documents = list(_documents(as_uri(uri)))
    if not documents:
        raise MissingArtifact(f"nothing to sign at {as_uri(uri)}: give a storage root, a run or an artifact")
    signed = []
    for folder, name in documents:
        where = objects.join(folder, name)
        data = objects.read(where, most=strict_json.LARGEST)
        if not signing.is_signed(data, folder, name):
            objects.write(where, _sealed(data, folder, name))
            signed.append(where)
    return signed


def _documents(folder: str) -> Iterator[tuple[str, str]]:
    """Folder and name of everything at or below a folder that is signed."""
    names = objects.children(folder)
    trainings = layout.place_of(folder).startswith("trainings/") and layout.root_of(folder) is not None
    own = {name for name in names if name in _DOCUMENTS or (trainings and name.endswith(".json"))}
    yield from ((folder, name) for name in sorted(own))
    for name in names:
        if name not in own:
            yield from _documents(objects.join(folder, name))


def _sealed(data: bytes, folder: str, name: str) -> bytes:
    """A document with its signature. Raises DamagedArtifact if it is not what its name says."""
    try:
        with suppress(PluginMissing):  # what another package had a part in is signed without that package
            _DOCUMENTS.get(name, Part).model_validate_json(data)
        return signing.sealed(data, folder, name)
    except ValueError as error:  # what models raise is one too
        raise DamagedArtifact(f"{objects.join(folder, name)} cannot be read, and was not signed: {again(folder)}") from error
