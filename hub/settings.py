"""The hub's settings: one frozen object from ``DIR/hub.toml`` and the command line. Unknown keys stop the start."""

from __future__ import annotations

import ipaddress
import os
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hub.db import sqlite_url
from hub.errors import SettingsInvalid

FILE_NAME = "hub.toml"
DEFAULT_UTC_OFFSET_MINUTES = 480  # China has one time zone and no summer time


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator can choose. Every field but `directory` may stand in hub.toml under its own name."""

    directory: Path
    """Holds hub.toml, keys/ and, with SQLite, hub.db."""
    hub_id: str
    """Part of the key names, so for ever; chosen by ``dock-hub init``."""
    database: str = ""
    """URL of the database; empty: SQLite in `directory`."""
    mqtt: str = ""
    """``mqtt://host:port`` or ``mqtts://host:port``; empty: no broker, stations deliver over HTTPS only."""
    mqtt_ca: str = ""
    """PEM file of the authority that signed the broker's certificate (mqtts)."""
    mqtt_cert: str = ""
    """PEM file with the hub's client certificate (mqtts)."""
    mqtt_key: str = ""
    """PEM file with its key."""
    mqtt_client_id: str = ""
    """Name of the broker session; empty: ``hub-<hub id>``."""
    replica: bool = False
    """One of several hub processes on one PostgreSQL, which divide the stations; each needs its own mqtt_client_id."""
    host: str = "127.0.0.1"
    """Address to serve pages on; TLS is the reverse proxy's."""
    port: int = 8080
    """TCP port to serve pages on."""
    trusted_proxies: str = "127.0.0.1,::1"
    """Addresses and networks, with commas, of reverse proxies whose word on client and scheme is taken; "" for none."""
    utc_offset_minutes: int = DEFAULT_UTC_OFFSET_MINUTES
    """Local time of the stations, for sorting recordings into days when a source gives its times in UTC."""

    public_url: str = ""
    """``https://…`` at which browsers reach the hub; needed for `oidc_issuer`, whose answers come back there."""
    oidc_issuer: str = ""
    """``https://…`` of an OpenID Connect provider through which people may sign in; empty: by password only."""
    oidc_client_id: str = ""
    """As which the provider knows this hub; its redirect address there is PUBLIC_URL/sign-in/provider/back."""
    oidc_secret_file: str = ""
    """File with the client's secret; empty: a public client."""
    oidc_name: str = ""
    """What people call the provider; empty: its host name."""

    timestamp_url: str = ""
    """``https://…`` of an RFC 3161 authority that confirms the log's checkpoints hourly; empty: none is asked."""
    timestamp_ca: str = ""
    """PEM file: the certificates that its time-stamps must lead to."""
    alert_senders: str = ""
    """TOML file with the addresses that alerts are sent to, readable by the hub alone; empty: pages and MQTT only."""

    @property
    def database_url(self) -> str:
        """The database to open."""
        return self.database or sqlite_url(self.directory / "hub.db")

    @property
    def keys_directory(self) -> Path:
        """Where the three private keys are."""
        return self.directory / "keys"

    @property
    def client_id(self) -> str:
        """The MQTT client id."""
        return self.mqtt_client_id or f"hub-{self.hub_id}"


def load_settings(directory: Path, **overrides: Any) -> Settings:
    """Read hub.toml and lay `overrides` that are not None over it. Raises SettingsInvalid."""
    path = directory / FILE_NAME
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsInvalid(f"{path} does not exist: run `dock-hub init --dir {directory}` first") from None
    except (OSError, ValueError) as error:
        raise SettingsInvalid(f"{path} cannot be read: {error}") from None
    return make_settings(directory, values | {k: v for k, v in overrides.items() if v is not None})


def make_settings(directory: Path, values: dict[str, Any]) -> Settings:
    """Check every value's name and kind. Raises SettingsInvalid."""
    kinds = {"str": str, "int": int, "bool": bool}
    known = {f.name: kinds[str(f.type)] for f in fields(Settings) if f.name != "directory"}
    for name, value in values.items():
        if name not in known:
            raise SettingsInvalid(f"{FILE_NAME}: unknown key {name!r}; known are {', '.join(sorted(known))}")
        if type(value) is not known[name]:
            raise SettingsInvalid(f"{FILE_NAME}: {name} must be of type {known[name].__name__}")
    if not values.get("hub_id"):
        raise SettingsInvalid(f"{FILE_NAME}: hub_id is missing")
    settings = Settings(directory=directory, **values)
    if settings.mqtt:
        broker_address(settings.mqtt)
    if settings.timestamp_url:
        parts = urlsplit(settings.timestamp_url)
        if parts.scheme not in ("http", "https") or not parts.netloc or not settings.timestamp_ca:
            raise SettingsInvalid(f"{FILE_NAME}: timestamp_url is an http or https address and needs timestamp_ca")
    _check_networks(settings.trusted_proxies)
    if settings.replica and not (settings.mqtt_client_id and settings.database.startswith("postgresql")):
        raise SettingsInvalid(f"{FILE_NAME}: replica needs a PostgreSQL database and an mqtt_client_id of its own")
    return settings


def _check_networks(listed: str) -> None:
    for one in filter(None, (part.strip() for part in listed.split(","))):
        try:
            ipaddress.ip_network(one)
        except ValueError:
            raise SettingsInvalid(f"{FILE_NAME}: trusted_proxies: {one!r} is no IP address or network") from None


def broker_address(url: str) -> tuple[str, int, bool]:
    """Host, port and whether TLS. Raises SettingsInvalid for anything but mqtt:// and mqtts://."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise SettingsInvalid(f"mqtt: {url!r} is not an address: {error}") from None
    if parts.scheme not in ("mqtt", "mqtts") or not host:
        raise SettingsInvalid(f"mqtt: expected mqtt://host:port or mqtts://host:port, not {url!r}")
    tls = parts.scheme == "mqtts"
    return host, port or (8883 if tls else 1883), tls


def write_settings(settings: Settings) -> None:
    """Create hub.toml, durable when this returns. Raises FileExistsError when there is one."""
    lines = ["# Custodock hub. Every key is explained in `dock-hub run --help`; unknown keys stop the start.\n"]
    plain = replace(settings, directory=Path())
    for f in fields(Settings):
        value = getattr(plain, f.name)
        if f.name == "hub_id" or (f.name != "directory" and value != f.default):
            lines.append(f"{f.name} = {_toml(value)}\n")
    write_new(settings.directory / FILE_NAME, "".join(lines).encode(), 0o640)


def write_new(path: Path, content: bytes, mode: int) -> None:
    """Create a file that must not exist yet; it and its directory entry are durable when this returns."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(fd)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _toml(value: str | int | bool) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(value).lower()
