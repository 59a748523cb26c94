"""What file systems, viewers and archives leave among the files of a data set, and which files are certainly no images."""

from __future__ import annotations

# Compared in small letters, for files and directories alike. Whatever starts with a dot is left out as well.
NAMES = frozenset(
    (
        "thumbs.db",  # Windows
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "desktop.ini",
        "$recycle.bin",
        "system volume information",
        "recycler",
        "found.000",
        "_vti_cnf",  # FrontPage: thumbnails and descriptions
        "picasa.ini",  # viewers and editors
        "zbthumbnail.info",
        "pspbrwse.jbf",
        "~snapshot",  # NetApp
        "lost+found",  # Linux
        "__macosx",  # macOS
        "icon\r",
        "network trash folder",
        "temporary items",
        "@eadir",  # Synology
        "@tmp",
        "#recycle",
        "#snapshot",
        "@recycle",  # QNAP
        "@recently-snapshot",
        "__pycache__",  # Python
    )
)
# Streams that copies from Windows or a Synology turn into files, and the markers of folders that Hadoop puts into S3.
ENDINGS = (":zone.identifier", ":encryptable", "@synoeastream", "@synoresource", "_$folder$")

_TEXTS = "txt csv tsv json jsonl ndjson xml yaml yml toml ini cfg md rst html htm pdf doc docx xls xlsx tex bib log"
_PROGRAMS = "py pyc ipynb m r sh bat lock md5 sha1 sha256"
_ARCHIVES = "zip tar gz tgz bz2 xz 7z rar npy npz mat pkl pickle pt pth h5 hdf5 parquet arrow feather lmdb mdb db sqlite tfrecord"
_RECORDINGS = "wav mp3 mp4 avi mov mkv"
NO_IMAGE = frozenset(" ".join((_TEXTS, _PROGRAMS, _ARCHIVES, _RECORDINGS)).split())
NO_IMAGE_NAMES = frozenset(("readme", "license", "licence", "makefile", "checksums", "md5sums", "sha256sums", "labels", "classes"))


def is_dropping(name: str) -> bool:
    """Whether a file or directory of this name is no part of the data: hidden, or left there by a system."""
    if name[:1] == ".":
        return True
    small = name.lower()
    return small in NAMES or small.endswith(ENDINGS)


def kind(name: str) -> str:
    """The name under which droppings are counted: copies of macOS's attributes together, others each by its own."""
    if name.startswith("._"):
        return "._*"
    return next((f"*{ending}" for ending in ENDINGS if name.lower().endswith(ending)), name)


def may_be_image(name: str) -> bool:
    """False for names of tables, texts, archives and the like; true for whatever else, also without a suffix."""
    stem, dot, suffix = name.lower().rpartition(".")
    return suffix not in NO_IMAGE if dot and stem else name.lower() not in NO_IMAGE_NAMES
