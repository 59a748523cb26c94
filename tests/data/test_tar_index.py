"""The index of tars: names of every form, tars within tars, what is not read, and files that are cut off anywhere."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
from replicas.imagenet_replica import tar_of

from bilp.data.tar import Member, TarIndex, is_tar, opened_tar, read_spans
from bilp.storage import objects

LONG = "a/" * 90 + "x" * 80 + "/\u00e9.JPEG"
FILES = {"n01440764/1.JPEG": b"one" * 300, LONG: b"two" * 171, "empty.jpg": b"", "./dotted.name.jpg": b"y" * 512}


def index(place: Path, **options: object) -> tuple[list[Member], list[tuple[str, str, int | None]], list[bytes]]:
    with opened_tar(str(place)) as file:
        found = TarIndex(file, **options)  # type: ignore[arg-type]
        members = list(found)
        return (
            members,
            [(problem.name, problem.reason, problem.lost) for problem in found.problems],
            list(read_spans(file, [(each.offset, each.size) for each in members])),
        )


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_members_of_any_name_are_found_and_read(tmp_path: Path, form: int, mode: str) -> None:
    place = tmp_path / "part_0.tar.gz"  # whatever it says: the first bytes count
    place.write_bytes(tar_of(FILES.items(), mode, form))
    members, problems, contents = index(place)
    assert [member.name for member in members] == [name.removeprefix("./") for name in FILES]
    assert contents == list(FILES.values())
    assert problems == []


def test_inner_tars_are_looked_into_without_unpacking(tmp_path: Path) -> None:
    inner = {f"{wnid}.tar": tar_of([(f"{wnid}_{i}.JPEG", f"{wnid} {i}".encode()) for i in range(3)]) for wnid in ("n01", "n02")}
    place = tmp_path / "train.tar"
    place.write_bytes(tar_of(inner.items()))
    members, problems, contents = index(place, nested=True)
    assert [member.name for member in members] == [f"{wnid}.tar/{wnid}_{i}.JPEG" for wnid in ("n01", "n02") for i in range(3)]
    assert contents == [f"{wnid} {i}".encode() for wnid in ("n01", "n02") for i in range(3)]
    assert problems == []
    assert [member.name for member in index(place)[0]] == list(inner)


def test_contents_are_given_along_with_the_index_where_they_are_wanted(tmp_path: Path) -> None:
    place = tmp_path / "shard.tar"
    place.write_bytes(tar_of([("1.jpg", b"p" * 512), ("1.cls", b"7"), ("2.jpg", b"q"), ("2.cls", b"8")]))
    members, _, _ = index(place, content_of=lambda name: name.endswith(".cls"))
    assert [(member.name, member.content) for member in members] == [("1.jpg", None), ("1.cls", b"7"), ("2.jpg", None), ("2.cls", b"8")]


def test_links_devices_and_names_that_lead_out_are_reported(tmp_path: Path) -> None:
    place = tmp_path / "odd.tar"
    with tarfile.open(place, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, kind in (("folder", tarfile.DIRTYPE), ("link.jpg", tarfile.SYMTYPE), ("pipe.jpg", tarfile.FIFOTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        for name in ("../out.jpg", "a/../../b.jpg", "in.jpg"):
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"abc"))
    raw = place.read_bytes().replace(b"a/../../b.jpg", b"/absolute.jpg", 1)
    members, problems, contents = index(place)
    assert [member.name for member in members] == ["in.jpg"]
    assert contents == [b"abc"]
    assert [name for name, *_ in problems] == ["link.jpg", "pipe.jpg", "../out.jpg", "a/../../b.jpg"]
    assert "a link, not a plain file" in problems[0][1]
    assert "leads out of the archive" in problems[2][1]
    assert len(raw) == place.stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize("compressed", [False, True])
def test_a_tar_that_is_cut_off_anywhere_yields_its_whole_members_and_reports_the_rest(tmp_path: Path, compressed: bool) -> None:
    files = [(f"{i}.jpg", bytes([i]) * (500 + i)) for i in range(6)]
    whole = tar_of(files)
    ends = [(512 + -(-len(data) // 512) * 512) for _, data in files]
    place = tmp_path / "cut.tar"
    for cut in range(100, sum(ends), 517):
        place.write_bytes(gzip.compress(whole)[: 40 + cut // 60] if compressed else whole[:cut])
        members, problems, contents = index(place)
        assert [member.name for member in members] == [name for name, _ in files[: len(members)]]
        assert contents == [data for _, data in files[: len(members)]]
        assert len(problems) == 1
        assert "cut off" in problems[0][1]
        if not compressed:
            assert len(members) == sum(cut >= sum(ends[:i]) + 512 + len(files[i][1]) for i in range(6))
    place.write_bytes(whole)
    assert len(index(place)[0]) == 6
    assert index(place)[1] == []


def test_an_inner_tar_that_ends_early_is_reported_by_name_and_the_next_one_read(tmp_path: Path) -> None:
    inner = tar_of([("a.jpg", b"a" * 900), ("b.jpg", b"b" * 900)])
    place = tmp_path / "outer.tar"
    place.write_bytes(tar_of([("n01.tar", inner[:2600]), ("n02.tar", inner)]))
    members, problems, _ = index(place, nested=True)
    assert [member.name for member in members] == ["n01.tar/a.jpg", "n02.tar/a.jpg", "n02.tar/b.jpg"]
    assert problems == [("n01.tar/b.jpg", "cut off: 552 of 900 bytes are there", 2600 - 512 - 1024 - 512)]


def test_damage_within_is_reported_with_its_place(tmp_path: Path) -> None:
    whole = bytearray(tar_of([(f"{i}.jpg", b"x" * 512) for i in range(3)]))
    whole[1024 + 150] ^= 255  # within the checksum of the second header
    place = tmp_path / "bad.tar"
    place.write_bytes(whole)
    members, problems, _ = index(place)
    assert [member.name for member in members] == ["0.jpg"]
    assert "damaged or cut off at byte 1,024 (" in problems[0][1]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("size", "described"), [(2**80, ""), (2**62, ""), (3, "9" * 30), (3, "9" * 5000)])
def test_a_size_that_no_file_has_is_damage(tmp_path: Path, size: int, described: str, compressed: bool) -> None:
    member = tarfile.TarInfo("a.jpg")
    member.size = size
    content = member.tobuf(tarfile.GNU_FORMAT) + b"abc"
    if described:
        buffer = io.BytesIO()
        member.pax_headers = {"size": described}
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
            archive.addfile(member, io.BytesIO(b"abc"))
        content = buffer.getvalue()
    place = tmp_path / "bad.tar"
    place.write_bytes(gzip.compress(content) if compressed else content)
    members, problems, _ = index(place)
    assert members == []
    assert [reason.partition(" (")[2] for _, reason, _ in problems] == ["a senseless size): what follows is lost"]


def test_a_tar_on_s3_is_indexed_and_read_by_few_requests(root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [(f"{i}.jpg", bytes([i]) * 5000) for i in range(20)]
    uri = objects.join(root, "shard.tar")
    objects.write(uri, tar_of(files))
    asked = []
    span = objects.span
    monkeypatch.setattr(objects, "span", lambda *arguments: asked.append(arguments) or span(*arguments))
    with opened_tar(uri) as file:
        members = list(TarIndex(file))
        assert list(read_spans(file, [(each.offset, each.size) for each in members[5:7]])) == [data for _, data in files[5:7]]
    assert [member.name for member in members] == [name for name, _ in files]
    assert len(asked) == (1 if "://" in root else 0)
    assert is_tar(uri)
