"""A server on this machine is reached directly, whatever proxies the environment names for the rest of the world."""

from __future__ import annotations

import importlib.util
import ipaddress
from collections.abc import MutableMapping
from urllib.parse import urlsplit

HOSTS = ("127.0.0.1", "localhost", "::1")
PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def spare(environment: MutableMapping[str, str], url: str = "") -> None:
    """Take this machine, and the host of `url` if it is this machine, out of what goes through a proxy.

    Clients read NO_PROXY or no_proxy, so both are set. A SOCKS proxy is dropped where the package for it is missing: Prefect's
    client refuses to work then, also for what would not go through the proxy. Changes nothing if no proxy is set.
    """
    set_here = [name for name, value in environment.items() if name.lower() in PROXIES and value]
    if not set_here:
        return
    for name in set_here:
        if environment[name].lower().startswith("socks") and importlib.util.find_spec("socksio") is None:
            del environment[name]
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        host = ""  # whoever asks there says that it is no address
    wanted = dict.fromkeys([*HOSTS, *([host] if is_loopback(host) else [])])
    for name, other in (("NO_PROXY", "no_proxy"), ("no_proxy", "NO_PROXY")):
        spared = [part.strip() for part in (environment.get(name) or environment.get(other) or "").split(",") if part.strip()]
        if "*" not in spared:
            environment[name] = ",".join([*spared, *(host for host in wanted if host not in spared)])
