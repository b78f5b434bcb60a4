"""Alerts as people meet them: pages, the number in the head, the command line, and what is sent outside."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from hub import log
from hub.alerts.queries import read_open
from hub.alerts.raising import raise_alerts
from hub.alerts.rules import ending, opening
from hub.alerts.sending import Sender, forget_old, read_senders, through_apprise
from hub.alerts.service import MAX_NOTE
from hub.app import main
from hub.settings import make_settings, write_settings
from hub.tables import alert_message
from hub.times import now_utc
from tests.integration.site_data import Hub
from tests.integration.web_peer import form_token, signed_in
from tests.ports import free_port

# apprise loads a module that its own Python calls old
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
HOSTILE = "<b>cam\u202e</b>"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    hub = Hub(tmp_path_factory.mktemp("hub"))
    yield hub
    hub.close()


@pytest.fixture(scope="module")
def keeper(site: Hub) -> TestClient:
    return signed_in(site, "keeper", "custodian")


def raise_one(hub: Hub, kind: str = "camera_overdue", subject: str = "cam-1", **facts: str | None) -> str:
    with hub.db.begin() as tx, log.appending(tx, hub.keys, now_utc()) as entries:
        raise_alerts(tx, entries, [opening(kind, subject, **facts)], now_utc())
    with hub.db.read() as connection:
        return next(row.id for row in read_open(connection) if row.subject == subject)


def end_one(hub: Hub, kind: str = "camera_overdue", subject: str = "cam-1") -> None:
    with hub.db.begin() as tx, log.appending(tx, hub.keys, now_utc()) as entries:
        raise_alerts(tx, entries, [ending(kind, subject)], now_utc())


def post(browser: TestClient, address: str, token: str | None = None, **form: str) -> int:
    given = form_token(browser.get("/alerts").text) if token is None else token
    return browser.post(address, data={"form_token": given, **form}).status_code


def test_from_nothing_to_resolved(site: Hub, keeper: TestClient) -> None:
    assert "没有未解除的告警" in keeper.get("/alerts").text
    assert "badge-count" not in keeper.get("/").text
    site.station("dock-1")
    alert_id = raise_one(site, station="dock-1", camera=HOSTILE, bay="2")
    page = keeper.get("/alerts").text
    assert "&lt;b&gt;cam⟨U+202E⟩&lt;/b&gt;" in page
    assert HOSTILE not in page
    assert 'class="badge-count">1<' in keeper.get("/").text
    assert "记录仪逾期未归还" in keeper.get("/overview/live").text
    one = keeper.get(f"/alerts/{alert_id}").text
    assert "请联系领用人归还" in one
    assert "Ask whoever has it" in keeper.get(f"/alerts/{alert_id}?lang=en").text
    keeper.get("/?lang=zh-CN")
    assert post(keeper, f"/alerts/{alert_id}/acknowledge", "0" * 64) == 403  # another site's form
    assert post(keeper, f"/alerts/{alert_id}/acknowledge", note="打电话了") == 303
    assert "badge-count" not in keeper.get("/").text
    assert post(keeper, f"/alerts/{alert_id}/assign", to="nobody") == 422
    assert post(keeper, f"/alerts/{alert_id}/assign", to="keeper") == 303
    assert post(keeper, f"/alerts/{alert_id}/resolve", note="") == 422
    assert post(keeper, f"/alerts/{alert_id}/resolve", note="x" * (MAX_NOTE + 1)) == 422
    assert post(keeper, f"/alerts/{alert_id}/resolve", note="已归还") == 303
    assert post(keeper, f"/alerts/{alert_id}/resolve", note="已归还") == 409
    history = keeper.get(f"/alerts/{alert_id}").text
    for said in ("keeper 已知悉: 打电话了", "keeper 将其交给 keeper 处理", "告警解除：keeper", "已归还"):
        assert said in history
    assert "Take note" not in history
    assert "记录仪逾期未归还" in keeper.get("/alerts?show=resolved").text
    assert "没有未解除的告警" in keeper.get("/alerts").text


def test_filters(site: Hub, keeper: TestClient) -> None:
    site.station("dock-2")
    raise_one(site, "camera_overdue", "cam-2", station="dock-2", camera="cam-2")
    raise_one(site, "loose_contact", "dock-2/1", station="dock-2", bay="1")
    whole = keeper.get("/alerts").text
    assert whole.index("记录仪逾期未归还") < whole.index("仓位接触不良")  # the graver first
    assert "仓位接触不良" not in keeper.get("/alerts?severity=warning").text
    assert "dock-2" in keeper.get("/alerts?station=dock-2&show=mine").text
    none = keeper.get("/alerts?station=dock-9").text
    assert "筛选条件隐去了 2 条" in none
    for bad in ("/alerts?show=x", "/alerts?severity=x"):
        assert keeper.get(bad).status_code == 422
    assert keeper.get("/alerts/none").status_code == 404
    end_one(site, subject="cam-2")
    end_one(site, "loose_contact", "dock-2/1")


def test_who_sees_none_has_no_number_and_no_list(site: Hub) -> None:
    officer = signed_in(site, "officer", "officer")
    raise_one(site, subject="cam-3", station="dock-1", camera="cam-3")
    assert officer.get("/alerts").status_code == 403
    assert "/alerts" not in officer.get("/").text
    end_one(site, subject="cam-3")


# --- outside ---


class Inbox:
    """An HTTP server that takes apprise's json:// messages, or refuses them."""

    def __init__(self) -> None:
        self.port, self.taken, self.refuses = free_port(), [], False
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if not inbox.refuses:
                    inbox.taken.append(json.loads(body))
                self.send_response(503 if inbox.refuses else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    made = Inbox()
    yield made
    made.close()


def senders_file(directory: Path, *ports: int, quiet: str = "") -> Path:
    path = directory / "senders.toml"
    urls = ", ".join(f'"json://127.0.0.1:{port}/"' for port in ports)
    path.write_text(f'urls = [{urls}]\npages = "https://hub.example.org/"\n[quiet]\n{quiet}\n', encoding="utf-8")
    path.chmod(0o600)
    return path


def outcomes(hub: Hub) -> list[str | None]:
    with hub.db.read() as connection:
        return list(connection.execute(select(alert_message.c.outcome).order_by(alert_message.c.id)).scalars())


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(tmp_path)
    hub.station("dock-1")
    yield hub
    hub.close()


def test_what_is_sent_is_all_that_is_sent(fresh: Hub, inbox: Inbox, tmp_path: Path) -> None:
    settings = read_senders(senders_file(tmp_path, inbox.port))
    sender = Sender(fresh.db, settings, through_apprise(settings.urls))
    alert_id = raise_one(fresh, station="dock-1", camera="CAM-SECRET", bay="7")
    assert sender.send_due(now_utc()) == 1
    assert sender.send_due(now_utc()) == 0
    [message] = inbox.taken
    assert message["title"] == "[警告] 记录仪逾期未归还"
    where, at, link = message["message"].splitlines()
    assert (where, link) == ("dock-1", f"https://hub.example.org/alerts/{alert_id}")
    assert at.startswith(f"{now_utc().year}年")
    assert "CAM-SECRET" not in json.dumps(message)
    assert message["attachments"] == []


def test_what_is_not_taken_comes_again_and_only_there(fresh: Hub, inbox: Inbox, tmp_path: Path) -> None:
    other = Inbox()
    try:
        settings = read_senders(senders_file(tmp_path, inbox.port, other.port))
        sender, now = Sender(fresh.db, settings, through_apprise(settings.urls)), now_utc()
        raise_one(fresh, station="dock-1")
        other.refuses = True
        assert sender.send_due(now + timedelta(seconds=1)) == 0
        assert sender.send_due(now + timedelta(seconds=2)) == 0  # waits
        assert (len(inbox.taken), outcomes(fresh)) == (1, ["not_taken"])
        other.refuses = False
        assert sender.send_due(now + timedelta(seconds=40)) == 1
        assert (len(inbox.taken), len(other.taken), outcomes(fresh)) == (1, 1, ["sent"])
    finally:
        other.close()


def test_quiet_hours_what_is_over_and_what_is_too_late(fresh: Hub, inbox: Inbox, tmp_path: Path) -> None:
    settings = read_senders(senders_file(tmp_path, inbox.port, quiet='warning = "00:00-23:59"'))
    sender, now = Sender(fresh.db, settings, through_apprise(settings.urls)), now_utc().replace(hour=4, minute=0)
    raise_one(fresh, station="dock-1")
    raise_one(fresh, "station_frozen", "dock-1", station="dock-1", detail="fork")
    later = max(now, now_utc()) + timedelta(seconds=1)
    sender.send_due(later)
    assert [one["title"] for one in inbox.taken] == ["[紧急] 采集站已冻结"]  # critical goes through
    end_one(fresh)
    raise_one(fresh, "footage_unsaved", "cam-2", station="dock-1")
    assert sender.send_due(later + timedelta(days=2)) == 0
    assert outcomes(fresh) == ["over", "sent", "too_late"]
    forget_old(fresh.db, later + timedelta(days=8))
    assert outcomes(fresh) == []


def test_the_command_line(
    fresh: Hub, inbox: Inbox, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_settings(make_settings(tmp_path, {"hub_id": "test", "alert_senders": "senders.toml"}))
    senders_file(tmp_path, inbox.port)
    alert_id = raise_one(fresh, station="dock-1", camera="cam-1")
    fresh.account("keeper", "custodian")

    def run(*words: str, typed: str = "", code: int = 0) -> str:
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        ended: object = 0
        try:
            main(["alert", *words, "--dir", str(tmp_path), "--json"])
        except SystemExit as end:
            ended = end.code
        assert ended == code
        return capsys.readouterr().out

    [row] = json.loads(run("list"))
    assert (row["id"], row["kind"], row["severity"], row["state"]) == (alert_id, "camera_overdue", "warning", "open")
    run("acknowledge", alert_id, "--account", "keeper", typed="wrong\n", code=1)
    assert json.loads(run("list"))[0]["state"] == "open"
    assert json.loads(run("list", "--resolved")) == []
    run("test-sender")
    assert [one["title"] for one in inbox.taken] == ["存证坞告警测试，未发生任何情况"]
    inbox.refuses = True
    run("test-sender", code=1)
    (tmp_path / "senders.toml").chmod(0o644)
    assert json.loads(run("test-sender", code=3))["error"] == "settings_invalid"
