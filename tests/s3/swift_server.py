#!/usr/bin/env python3
"""OpenStack Swift with its S3 API in one process on loopback: a real S3 store for tests and local development.

    python3 -m venv .venv-s3 && .venv-s3/bin/pip install swift==2.38.3
    .venv-s3/bin/python tests/s3/swift_server.py --dir ./s3-data --port 9000

These are the account, container, object and proxy servers of production Swift clouds, with one replica in one directory.
Signatures are verified, objects are synced to disk before they are acknowledged, and data survive a restart and kill -9.
The key pair is AWS_ACCESS_KEY_ID (of the form account:user) and AWS_SECRET_ACCESS_KEY, or dev:local and local-dev-secret.
The directory must support user extended attributes: ext4, xfs, btrfs, or tmpfs since Linux 6.6.
The three inner servers listen on loopback WITHOUT authentication: do not run this on a machine that others share.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import os
import socket
import sys
import uuid
from pathlib import Path

HOST = "127.0.0.1"
INNER_SERVERS = ("account", "container", "object")
CHUNK = 1 << 20

COMMON = """\
[DEFAULT]
bind_ip = {host}
bind_port = {port}
swift_dir = {settings}
devices = {devices}
user = {user}
mount_check = false
workers = 0
fallocate_reserve = 0
log_level = WARNING
log_address = {settings}/no-syslog
recon_cache_path = {settings}/recon
"""

INNER = """\
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
{extra}
"""

# No updater daemon runs here, so the update of a listing must not be cut short (by default after one second).
OBJECT_EXTRA = f"container_update_timeout = 60\ndisk_chunk_size = {CHUNK}\nnetwork_chunk_size = {CHUNK}"

PROXY = """\
[pipeline:main]
pipeline = memory_cache {conditions} s3api tempauth bulk copy slo dlo versioned_writes symlink proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
node_timeout = 60
recoverable_node_timeout = 60
conn_timeout = 5
error_suppression_limit = 1000000
object_chunk_size = {chunk}
client_chunk_size = {chunk}
[filter:memory_cache]
paste.filter_factory = swift_filters:memory_cache
[filter:atomic_create]
paste.filter_factory = swift_filters:atomic_create
[filter:forgetful_bucket]
paste.filter_factory = swift_filters:forgetful_bucket
bucket = {forgetful}
[filter:s3api]
use = egg:swift#s3api
location = {region}
max_upload_part_num = 10000
[filter:tempauth]
use = egg:swift#tempauth
user_{account}_{account_user} = {secret} .admin
[filter:slo]
use = egg:swift#slo
max_manifest_segments = 10000
max_manifest_size = 16777216
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
allow_object_versioning = true
[filter:bulk]
use = egg:swift#bulk
[filter:copy]
use = egg:swift#copy
[filter:dlo]
use = egg:swift#dlo
[filter:symlink]
use = egg:swift#symlink
"""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", required=True, type=Path, help="where objects and settings lie")
    parser.add_argument("--port", type=int, default=9000, help="port of the S3 API; 0 takes a free one (default 9000)")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--forgetful-bucket", default="", metavar="NAME", help="ignore conditions in this bucket, as some imitations do")
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when the starting process is gone")
    chosen = parser.parse_args()
    chosen.access_key = os.environ.get("AWS_ACCESS_KEY_ID", "dev:local")
    chosen.secret = os.environ.get("AWS_SECRET_ACCESS_KEY", "local-dev-secret")
    if chosen.access_key.count(":") != 1:
        parser.error(f"AWS_ACCESS_KEY_ID is {chosen.access_key!r}: Swift needs the form account:user, such as dev:local")
    return chosen


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def require_extended_attributes(folder: Path) -> None:
    probe = folder / ".attribute-probe"
    probe.touch()
    try:
        os.setxattr(probe, "user.swift.probe", b"1")
    except OSError as error:
        sys.exit(f"{folder}: no user extended attributes here ({error}); choose a --dir on ext4, xfs, btrfs or tmpfs of Linux 6.6")
    finally:
        probe.unlink()


def write_private(path: Path, text: str) -> None:
    """Settings hold the secret key, so nobody else may read them."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def write_rings(settings: Path, ports: dict[str, int]) -> None:
    """A ring says which server holds what: here one replica on one device."""
    from swift.common.ring import RingBuilder

    for name in INNER_SERVERS:
        address = {"ip": HOST, "port": ports[name], "replication_ip": HOST, "replication_port": ports[name]}
        builder = RingBuilder(part_power=6, replicas=1, min_part_hours=0)
        builder.add_dev({"region": 1, "zone": 1, "device": "disk", "weight": 1.0, "meta": "", **address})
        builder.rebalance()
        builder.get_ring().save(str(settings / f"{name}.ring.gz"))


def configure(chosen: argparse.Namespace) -> tuple[Path, int]:
    """Write all of Swift's settings; returns their folder and the port of the S3 API."""
    settings, devices = chosen.dir.resolve() / "settings", chosen.dir.resolve() / "devices"
    for folder in (settings, devices / "disk"):
        folder.mkdir(parents=True, exist_ok=True)
    require_extended_attributes(devices)
    identity = settings / "swift.conf"
    if not identity.exists():  # the suffix decides where data lie: it must never change for this directory
        suffix = uuid.uuid4().hex
        policy = "[storage-policy:0]\nname = default\ndefault = yes\n[swift-constraints]\nmax_header_size = 65536\n"
        write_private(identity, f"[swift-hash]\nswift_hash_path_suffix = {suffix}\n{policy}")
    *inner, free = free_ports(len(INNER_SERVERS) + 1)
    ports = dict(zip(INNER_SERVERS, inner, strict=True), proxy=chosen.port or free)
    write_rings(settings, ports)
    account, account_user = chosen.access_key.split(":")
    conditions = "forgetful_bucket atomic_create" if chosen.forgetful_bucket else "atomic_create"
    for name, port in ports.items():
        common = COMMON.format(host=HOST, port=port, settings=settings, devices=devices, user=getpass.getuser())
        if name == "proxy":
            rest = PROXY.format(
                conditions=conditions,
                chunk=CHUNK,
                forgetful=chosen.forgetful_bucket,
                region=chosen.region,
                account=account,
                account_user=account_user,
                secret=chosen.secret,
            )
        else:
            rest = INNER.format(name=name, extra=OBJECT_EXTRA if name == "object" else "")
        write_private(settings / f"{name}.conf", common + rest)
    return settings, ports["proxy"]


def share_one_hub() -> None:
    """Swift selects an event hub once per server, which would cut off the servers that already run in this thread."""
    from eventlet import hubs
    from swift.common import utils

    hubs.use_hub(utils.get_hub())
    hubs.get_hub()
    select = hubs.use_hub
    hubs.use_hub = lambda *chosen: None if hasattr(hubs._threadlocal, "hub") else select(*chosen)


def serve(chosen: argparse.Namespace) -> None:
    from swift.common import utils

    utils.monkey_patch()
    import eventlet
    from swift.common import wsgi

    parent = os.getppid()
    settings, port = configure(chosen)
    utils.set_swift_dir(str(settings))
    wsgi.validate_configuration()
    share_one_hub()
    servers = []
    for name in (*INNER_SERVERS, "proxy"):
        conf, logger, _ = wsgi._initrp(str(settings / f"{name}.conf"), f"{name}-server", verbose=True)
        listening = wsgi.get_socket(conf)  # connections queue from here on, so the line below may be believed
        servers.append(eventlet.spawn(wsgi.run_server, conf, logger, listening))
    print(f"http://{HOST}:{port}", flush=True)
    while chosen.exit_with_parent and os.getppid() == parent:
        eventlet.sleep(0.5)
    if not chosen.exit_with_parent:
        for server in servers:
            server.wait()


if __name__ == "__main__":
    os.umask(0o077)
    with contextlib.suppress(KeyboardInterrupt):
        serve(arguments())
