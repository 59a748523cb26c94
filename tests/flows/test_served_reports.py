"""Reports behind the server's login: the pages, what they link to, and nothing else, whatever address is asked for."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from starlette.responses import PlainTextResponse

from bilp.artifacts.publication import publish
from bilp.storage.objects import join
from bilp.storage.verification import digest
from deployments.reports import HOURS, Reports
from flows.server import request_checks

LOGIN = "bilp:password"
KEY, OTHER, PLAIN = "0123456789abcdef", "fedcba9876543210", "00000000000000aa"
TABLE = f"trainings/{KEY}/convnet"
HTML = f"""<!DOCTYPE html><p>\u00b1</p><script>alert(1)</script>
<a href="../../{TABLE}/rows.parquet">rows</a> <a href="../{OTHER}/report.html">other</a> <a href="../index.html">all</a>
<a href="../../{TABLE}/_manifest.json">manifest</a> <a href="../../{TABLE}/notes.html">notes</a> <a href="../../secret.csv">secret</a>
<a href="../../../outside.csv">outside</a> <a href="//evil.example/x.csv">elsewhere</a> <a href="http://[">wrong</a>
<a href="../../{TABLE}/linked%2eparquet">linked</a>""".encode()
PAGE = f"/reports/{KEY}/storage/reports/{KEY}/report.html"
ROWS = f"/reports/{KEY}/storage/{TABLE}/rows.parquet"
BASIC = {"Authorization": "Basic " + base64.b64encode(LOGIN.encode()).decode()}


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A storage with two pages, a table and things that are nobody's business."""
    root = str(tmp_path / "store")
    fill(root)
    (tmp_path / "outside.csv").write_bytes(b"outside")
    (tmp_path / "store" / "secret.csv").write_bytes(b"secret")
    return root


def fill(root: str) -> None:
    for key, html in ((KEY, HTML), (OTHER, b"<!DOCTYPE html>other")):
        publish(join(root, "reports", key), "report", key, {"report.html": html, "extra.csv": b"x"}, config={}, parents={})
    files: dict[str, bytes] = {
        "rows.parquet": b"PAR1",
        "unlinked.parquet": b"PAR1",
        "notes.html": b"<script>",
        "linked.parquet": b"PAR1 too",
    }
    publish(join(root, TABLE), "rows", KEY, files, config={}, parents={})
    publish(join(root, "reports", PLAIN), "rows", PLAIN, {"report.html": b"of another kind"}, config={}, parents={})


def server(root: str, now: list[float] | None = None) -> Any:
    """The reports in front of what stands for Prefect's application, behind the checks of every request."""
    reports = Reports(PlainTextResponse("Prefect"), LOGIN, root, lambda: now[0] if now else 0.0)
    return request_checks.RequestChecks(reports, request_checks.hosts("127.0.0.1", {}), login=LOGIN)


def asked(app: Any, *paths: str, method: str = "GET", headers: dict[str, str] = BASIC) -> list[httpx.Response]:
    """The answers, without following them."""

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:4200") as client:
            return [await client.request(method, path, headers=headers) for path in paths]

    return asyncio.run(ask())


def as_it_stands(app: Any, path: str) -> tuple[int, bytes]:
    """Status and body for a path that no client has tidied up: a server hands it over decoded, and otherwise as it came."""
    headers = [(name.lower().encode(), value.encode()) for name, value in {"Host": "127.0.0.1:4200", **BASIC}.items()]
    scope = {"type": "http", "method": "GET", "path": unquote(path), "raw_path": path.encode(), "query_string": b"", "headers": headers}
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def test_a_page_is_found_by_its_key_byte_for_byte(root: str) -> None:
    for moved in asked(server(root), f"/reports/{KEY}", f"/reports/{KEY}/", f"/reports/{KEY}/report.html"):
        assert (moved.status_code, moved.headers["location"]) == (307, PAGE)
    (answer,) = asked(server(root), PAGE)
    assert (answer.status_code, answer.content) == (200, HTML)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; img-src data:") and "script-src" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["x-frame-options"] == "DENY"


def test_what_a_browser_has_is_not_sent_again(root: str) -> None:
    etag = f'"{digest(HTML)}"'
    (same,) = asked(server(root), PAGE, headers=BASIC | {"If-None-Match": f'"x", W/{etag}'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    (changed,) = asked(server(root), PAGE, headers=BASIC | {"If-None-Match": '"x"'})
    assert changed.status_code == 200
    (head,) = asked(server(root), PAGE, method="HEAD")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", etag)


def test_links_of_a_page_lead_to_files_the_index_and_other_pages(root: str) -> None:
    app = server(root)
    rows, linked, other, index = asked(
        app,
        ROWS,
        f"/reports/{KEY}/storage/{TABLE}/linked.parquet",
        f"/reports/{KEY}/storage/reports/{OTHER}/report.html",
        f"/reports/{KEY}/storage/reports/index.html",
    )
    assert (rows.content, rows.headers["content-type"]) == (b"PAR1", "application/vnd.apache.parquet")
    assert rows.headers["content-disposition"] == "attachment"
    assert linked.content == b"PAR1 too"
    assert (other.headers["location"], index.headers["location"]) == (f"/reports/{OTHER}/", "/reports/")
    assert [answer.status_code for answer in asked(app, "/reports/", "/reports/index.html")] == [404, 404], "there is none yet"
    Path(root, "reports", "index.html").write_bytes(b"<!DOCTYPE html>all")
    for answer in asked(app, "/reports/", "/reports/index.html"):
        assert (answer.status_code, answer.content) == (200, b"<!DOCTYPE html>all")


def test_a_comparison_is_shown_and_leads_to_its_reports(root: str, tmp_path: Path) -> None:
    app, place = server(root), f"comparisons/{KEY}.html"
    assert [answer.status_code for answer in asked(app, f"/reports/{place}")] == [404], "there is none yet"
    file = Path(root, "reports", place)
    file.parent.mkdir()
    file.write_bytes(b"<!DOCTYPE html>both")
    answer, linked = asked(app, f"/reports/{place}", f"/reports/comparisons/../{OTHER}/report.html")
    assert (answer.status_code, answer.content) == (200, b"<!DOCTYPE html>both")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert linked.headers["location"] == f"/reports/{OTHER}/storage/reports/{OTHER}/report.html"
    assert [answer.status_code for answer in asked(app, f"/reports/{place}", headers={})] == [401]
    (file.parent / "notes.html").write_bytes(b"<script>")
    (file.parent / f"{OTHER}.html").symlink_to(tmp_path / "outside.csv")
    (file.parent / f"{PLAIN}.csv").write_bytes(b"x")
    for name in (
        "notes.html",
        f"{OTHER}.html",
        f"{PLAIN}.csv",
        "",
        f"../{KEY}.html",
        f"{KEY}.html/",
        f"{KEY.upper()}.html",
        f"{KEY}.html%00",
    ):
        assert as_it_stands(app, f"/reports/comparisons/{name}")[0] == 404, name


HOSTILE = [
    "/reports/",
    "/reports",
    f"/reports/{PLAIN}/",
    f"/reports/{KEY.upper()}/",
    f"/reports/{KEY}0/",
    f"/reports/{KEY[:-1]}/",
    "/reports/latest/",
    f"/reports/{KEY}/_manifest.json",
    f"/reports/{KEY}/extra.csv",
    f"/reports/{KEY}/storage/",
    f"/reports/{KEY}/storage/reports/{KEY}/",
    f"/reports/{KEY}/storage/reports/{KEY}/extra.csv",
    f"/reports/{KEY}/storage/reports/{KEY}/_manifest.json",
    f"/reports/{KEY}/storage/{TABLE}",
    f"/reports/{KEY}/storage/{TABLE}/",
    f"/reports/{KEY}/storage/{TABLE}/unlinked.parquet",
    f"/reports/{KEY}/storage/{TABLE}/_manifest.json",
    f"/reports/{KEY}/storage/{TABLE}/notes.html",
    f"/reports/{OTHER}/storage/{TABLE}/rows.parquet",
    f"/reports/{KEY}/storage/secret.csv",
    f"/reports/{KEY}/storage/../secret.csv",
    f"/reports/{KEY}/storage/..%2fsecret.csv",
    f"/reports/{KEY}/storage/%2e%2e/%2e%2e/secret.csv",
    f"/reports/{KEY}/storage/..%5csecret.csv",
    f"/reports/{KEY}/storage/..%2f..%2foutside.csv",
    f"/reports/{KEY}/storage//etc/passwd",
    f"/reports/{KEY}/storage/%2fetc%2fpasswd",
    f"/reports/{KEY}/storage/{TABLE}/rows.parquet%00",
    f"/reports/{KEY}/storage/{TABLE}/rows.parquet%00.html",
    f"/reports/{KEY}/storage/{TABLE}//rows.parquet",
    f"/reports/{KEY}/storage/./{TABLE}/rows.parquet",
    f"/reports/{KEY}%00/",
    f"/reports/..%2freports%2f{KEY}/",
    "/reports/../reports/../secret.csv",
    "/reports/%2e%2e/secret.csv",
    "/reports/%252e%252e/secret.csv",
    f"/reports/{KEY}/../../secret.csv",
    f"/reports/{KEY}%0d%0aX: y/",
    f"/reports/{'0' * 16}/",
    f"/reports/{KEY}/" + "a/" * 2000,
]


def test_nothing_else_is_served(root: str) -> None:
    app = server(root)
    assert as_it_stands(app, PAGE) == (200, HTML)
    answers = {path: as_it_stands(app, path) for path in HOSTILE}
    assert {path: answer for path, answer in answers.items() if answer != (404, b'{"exception_message":"Not Found"}')} == {}


def test_links_of_the_file_system_do_not_lead_out_of_the_storage(root: str, tmp_path: Path) -> None:
    outside = str(tmp_path / "outside")
    fill(outside)
    store = Path(root)
    (store / "reports" / ("1" * 16)).symlink_to(Path(outside, "reports", OTHER))
    (store / "reports" / "index.html").symlink_to(tmp_path / "outside.csv")
    rows = next((store / TABLE).glob("rows*.parquet"))
    rows.unlink()
    rows.symlink_to(next(Path(outside, TABLE).glob("rows*.parquet")))
    answers = asked(server(root), f"/reports/{'1' * 16}/", "/reports/", ROWS)
    assert [answer.status_code for answer in answers] == [404, 404, 404]


def test_a_damaged_page_is_not_shown(root: str) -> None:
    (file,) = Path(root, "reports", KEY).glob("*.html")
    file.write_bytes(HTML.replace(b"alert(1)", b"alert(2)"))
    (answer,) = asked(server(root), PAGE)
    assert answer.status_code == 404


def test_nothing_can_be_written(root: str) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        (answer,) = asked(server(root), PAGE, method=method)
        assert answer.status_code == 405, method


def test_without_the_login_nothing_is_shown(root: str) -> None:
    paths = (PAGE, ROWS, f"/reports/{KEY}/", "/reports/", f"/reports/{'0' * 16}/")
    wrong = base64.b64encode(b"bilp:wrong").decode()
    kinds = ({}, {"Authorization": f"Basic {wrong}"}, {"Authorization": "Basic"}, {"Authorization": "Basic ***"})
    for headers in (*kinds, {"Cookie": "bilp-reports=99999999999.0"}, {"Cookie": "bilp-reports=x"}, {"Cookie": "bilp-reports=9.\u00e9"}):
        sent = {name: value.encode("latin-1").decode("latin-1") for name, value in headers.items()}
        for answer in asked(server(root), *paths, headers={name: value for name, value in sent.items() if value.isascii()}):
            assert answer.status_code == 401
            assert HTML not in answer.content and "set-cookie" not in answer.headers
    (traded,) = asked(server(root), "/reports/", method="POST", headers={})
    assert (traded.status_code, "set-cookie" in traded.headers) == (401, False)


def test_requests_of_other_pages_and_names_are_refused(root: str) -> None:
    for headers, status in (({"Origin": "http://evil.example"}, 403), ({"Host": "evil.example"}, 400)):
        (answer,) = asked(server(root), PAGE, headers=BASIC | headers)
        assert answer.status_code == status


def test_a_browser_trades_the_login_of_the_ui_for_a_cookie(root: str) -> None:
    now = [1_000_000.0]
    app = server(root, now)
    (page_,) = asked(app, PAGE, headers={"Accept": "text/html"})
    assert page_.status_code == 401 and "prefect-password" in page_.text
    assert "'unsafe-inline'" not in page_.headers["content-security-policy"]
    (traded,) = asked(app, "/reports/", method="POST")
    cookie = traded.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/reports"} <= set(cookie.split("; ")), cookie
    assert LOGIN.partition(":")[2] not in cookie
    sent = {"Cookie": cookie.partition(";")[0]}
    assert asked(app, PAGE, headers=sent)[0].content == HTML
    assert asked(server(root, now), PAGE, headers=sent)[0].status_code == 401, "the cookie of a server that has ended"
    now[0] += 3600 * HOURS + 1
    assert asked(app, PAGE, headers=sent)[0].status_code == 401, "it has expired"


@pytest.mark.slow
@pytest.mark.s3
def test_a_bucket_serves_the_same(s3_root: str) -> None:
    fill(s3_root)
    app = server(s3_root)
    page_, rows, nothing, index = asked(app, PAGE, ROWS, f"/reports/{'0' * 16}/", "/reports/")
    assert (page_.content, rows.content) == (HTML, b"PAR1")
    assert (nothing.status_code, index.status_code) == (404, 404)
    answers = {path: as_it_stands(app, path) for path in HOSTILE}
    assert {path: answer for path, answer in answers.items() if answer[0] != 404} == {}


def test_everything_else_is_prefects(root: str) -> None:
    for answer in asked(server(root), "/", "/reportsx", "/runs", headers={}):
        assert answer.text == "Prefect"


STATED: dict[str, dict[str, Any]] = {
    "study": {"name": "a", "done": 1, "planned": 1, "state": KEY},
    "suspects": {
        "dataset": KEY,
        "class_names": ["a", "b"],
        "samples": 2,
        "trials": 1,
        "epochs": 1,
        "by": "aum",
        "estimated_errors": 0,
        "near_duplicates": 0,
        "reviewed": 0,
        "repeated_otherwise": [],
    },
    "critical": {
        "dataset": KEY,
        "method": "dm",
        "ipc": 1,
        "tolerance": 0.01,
        "level": 0.05,
        "whole": 0.5,
        "critical": {"loss_init": 0.5},
        "low": {"loss_init": 0.1},
        "crossing": {"loss_init": 0.3},
    },
}


@pytest.mark.parametrize(("folder", "kind"), [("studies", "study"), ("suspects", "suspects"), ("critical", "critical")])
def test_pages_of_their_own_are_shown_with_the_tables_beside_them_and_nothing_else(root: str, folder: str, kind: str) -> None:
    page = "report.html" if kind == "critical" else f"{kind}.html"
    files: dict[str, bytes] = {page: b"<!DOCTYPE html>" + kind.encode(), "table.csv": b"a,b", "other.html": b"<script>", "notes.txt": b"x"}
    publish(join(root, folder, KEY), kind, KEY, files, config={}, parents={}, facts=STATED[kind])
    publish(join(root, folder, OTHER), "rows", OTHER, files, config={}, parents={})
    app, place = server(root), f"/reports/{folder}/{KEY}"
    moved, shown, table = asked(app, f"{place}/", f"{place}/{page}", f"{place}/table.csv")
    assert (moved.status_code, moved.headers["location"]) == (307, f"{place}/{page}")
    assert (shown.status_code, shown.content) == (200, files[page]) and shown.headers["content-security-policy"].startswith(
        "default-src 'none'"
    )
    assert table.content == b"a,b" and table.headers["content-disposition"] == "attachment"
    (own,) = asked(app, f"{place}/../../reports/{KEY}/report.html")
    assert own.headers["location"] == PAGE, "as a study names the pages of its pipelines"
    refused = [f"{place}/{name}" for name in ("other.html", "notes.txt", "_manifest.json", "none.csv")]
    refused += [f"/reports/{folder}/{OTHER}/", f"/reports/{folder}/{PLAIN}/", f"/reports/{folder}/{KEY}/../{OTHER}/{page}"]
    assert [answer.status_code for answer in asked(app, *refused)] == [404] * len(refused)
    assert as_it_stands(app, f"{place}/..%2f..%2fsecret.csv")[0] == 404
    assert [answer.status_code for answer in asked(app, f"{place}/{page}", headers={})] == [401]


def test_pages_about_new_images_are_shown_with_their_table(root: str) -> None:
    app, folder = server(root), Path(root, "reports", "arrivals")
    folder.mkdir()
    for suffix in ("html", "csv", "txt"):
        (folder / f"{KEY}.{suffix}").write_bytes(suffix.encode())
    page, table, other = asked(app, *(f"/reports/arrivals/{KEY}.{suffix}" for suffix in ("html", "csv", "txt")))
    assert (page.content, page.headers["content-type"]) == (b"html", "text/html; charset=utf-8")
    assert (table.content, table.headers["content-disposition"], other.status_code) == (b"csv", "attachment", 404)
    assert [answer.status_code for answer in asked(app, f"/reports/arrivals/{KEY}.csv", headers={})] == [401]
