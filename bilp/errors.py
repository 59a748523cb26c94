"""Errors that a user can act on: each message says what is wrong, where, and what to do."""

from bilp.text.escaping import shortened, shown

MOST = 3000
"""Characters of an error's text; what is longer loses its middle."""


class BilpError(Exception):
    """Base of every error that bilp raises on purpose. Its text is one line of at most MOST characters, whatever it quotes."""

    def __str__(self) -> str:
        return shortened(shown(super().__str__()), MOST)


class ConfigError(BilpError, ValueError):
    """A setting is unknown, impossible or contradicts another one."""


class PluginMissing(BilpError):
    """What another package computes is needed, and that package is not installed, or in another version."""


class DataError(BilpError):
    """Source data cannot be turned into a dataset (corrupt files, labels out of range, empty classes)."""


class StorageError(BilpError):
    """Object storage could not be read or written."""


class ImpossibleUri(StorageError):
    """What is given as a URI names no place, or one of a kind that cannot be reached from here, and never will."""


class StorageRefused(StorageError):
    """Storage answers, but nothing can be published there: it is read-only, in the place of a file, or knows no conditional writes."""


class StorageMisconfigured(StorageError):
    """Storage is asked in a way that it will never answer: wrong credentials or rights, no such bucket, no valid endpoint."""


class StorageUnreachable(StorageError):
    """Storage did not answer, or only that it cannot at present, for as long as `bilp.storage.transient` tries again."""


class MissingArtifact(StorageError):
    """Nothing complete lies at the URI; it was never published or publishing was interrupted."""


class DamagedArtifact(StorageError):
    """An artifact's bytes differ from what its manifest promises."""


class UntrustedArtifact(DamagedArtifact):
    """An artifact carries no signature of a key that this process knows, or was changed or moved after it was signed."""


class IncompatibleArtifact(StorageError):
    """An artifact is whole but is not what the caller expects (other classes, shape, normalization, ...)."""


class Diverged(BilpError):
    """An optimization left the finite numbers; the last good state was kept."""


class LeaseLost(BilpError):
    """The work was given to another process while this one could not be seen; it must publish nothing more."""
