"""The `custody` command as a person or script runs it: exit codes, output, languages, hostile folders."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from custody.cli import main
from custody.digest import CHUNK_BYTES, digest_stream
from custody.disk import Hasher
from custody.envelope import seal
from custody.examine import examine
from custody.finding import Kind
from tests.vectors import make
from tests.vectors.dockings import OTHER_KEY, STATION_KEY, Docking, Station, build, pattern

LINE = STATION_KEY.verify_key.line
VECTORS = Path(make.__file__).parent


def run(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "custody.cli", *map(os.fspath, arguments)]  # type: ignore[type-var]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **(env or {})})


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    station = Station()
    root = tmp_path / "vault"
    build(root, Docking({"DCIM/A.MP4": pattern(1, 2 * CHUNK_BYTES), "B.MP4": b"b"}, docking_id="one"), station)
    saved = (("B.MP4", b"b", "one"), ("C.MP4", b"c", "elsewhere"))
    build(root, Docking({"D.MP4": b"d"}, docking_id="two", already_saved=saved), station)
    return root


def docking(vault: Path, name: str) -> Path:
    return vault / "cam-7/2026/03/01" / name


def kinds(result: subprocess.CompletedProcess[str]) -> set[str]:
    return {f["kind"] for f in json.loads(result.stdout)["findings"]}


def test_a_vault_verifies_and_says_whose_it_is(vault: Path, tmp_path: Path) -> None:
    proved = run("verify", vault, "--key", LINE, "--lang", "en")
    assert proved.returncode == 0, proved.stdout
    assert "Authorship is proved" in proved.stdout
    assert "1 entries were saved in docking elsewhere" in proved.stdout
    (tmp_path / "keys").write_text(f"# ours\n{OTHER_KEY.verify_key.line}\n\n{LINE}\n")
    assert run("verify", vault, "--key", tmp_path / "keys").returncode == 0
    unproved = run("verify", vault, "--lang", "en")
    assert (unproved.returncode, "AUTHORSHIP IS NOT PROVED" in unproved.stdout) == (0, True)
    chinese = run("verify", vault, "--lang", "zh")
    assert "验证通过" in chinese.stdout
    assert "未证明签名者身份" in chinese.stdout
    assert "验证通过" in run("verify", vault, env={"LC_ALL": "", "LANG": "zh_CN.UTF-8", "LC_MESSAGES": ""}).stdout


def test_a_key_that_did_not_sign_is_an_alarm(vault: Path) -> None:
    result = run("verify", vault, "--key", OTHER_KEY.verify_key.line, "--json")
    assert result.returncode == 1
    assert kinds(result) == {"signer_unknown"}
    assert json.loads(result.stdout)["authorship_proved"] is False


def test_a_forger_who_replaces_everything_is_caught_by_the_key_alone(tmp_path: Path) -> None:
    build(
        tmp_path / "vault",
        Docking({"A.MP4": b"forged"}),
        Station(key=make.SigningKey.from_seed("dock-test", b"f" * 32)),
    )
    assert run("verify", tmp_path / "vault").returncode == 0
    assert run("verify", tmp_path / "vault", "--key", LINE).returncode == 1


def test_any_place_in_or_above_a_docking_will_do(vault: Path, tmp_path: Path) -> None:
    for place in (tmp_path, vault / "cam-7", docking(vault, "one")):
        assert run("verify", place, "--key", LINE).returncode == 0, place
    for inside in (docking(vault, "one") / "DCIM", docking(vault, "one") / "B.MP4", docking(vault, "one") / ".custody"):
        result = run("verify", inside, "--lang", "en")
        assert (result.returncode, "lies inside this docking" in result.stdout) == (0, True)
    moved = shutil.copytree(docking(vault, "one"), tmp_path / "handed out")
    assert run("verify", moved, "--key", LINE).returncode == 0


def test_exit_codes(vault: Path, tmp_path: Path) -> None:
    assert run("verify").returncode == 2
    assert run("verify", vault, "--key", "no key").returncode == 2
    assert run("verify", vault, "--key", "/dev/null").returncode == 2
    assert run("verify", vault, "--lang", "fr").returncode == 2
    assert run("unknown").returncode == 2
    assert run("verify", tmp_path / "nowhere").returncode == 3
    (tmp_path / "empty").mkdir()
    assert run("verify", tmp_path / "empty").returncode == 4
    (tmp_path / "empty/photo.jpg").write_bytes(b"x")
    assert run("verify", tmp_path / "empty").returncode == 4
    help_text = run("verify", "--help").stdout
    assert all(f"  {code}  " in help_text for code in range(5))


def test_an_open_docking_is_incomplete_and_staging_is_information(vault: Path) -> None:
    (vault / ".staging").mkdir()
    (vault / ".staging/x.part").write_bytes(b"half")
    assert run("verify", vault).returncode == 0
    (docking(vault, "three") / ".custody/leaves").mkdir(parents=True)
    (docking(vault, "three") / "E.MP4").write_bytes(b"e")
    result = run("verify", vault, "--json")
    assert result.returncode == 1
    assert kinds(result) == {"not_closed"}
    assert {f["kind"] for f in json.loads(result.stdout)["information"]} >= {"staging"}


def test_whole_vault_findings(vault: Path) -> None:
    (vault / "stray.mp4").write_bytes(b"x")
    (vault / "cam-7/2026/link").symlink_to("/etc")
    assert kinds(run("verify", vault, "--json")) == {"stray"}
    (vault / "stray.mp4").unlink()
    (vault / "cam-7/2026/link").unlink()
    shutil.copytree(docking(vault, "one"), docking(vault, "one-again"))
    assert kinds(run("verify", vault, "--json")) == {"docking_twice"}
    shutil.rmtree(docking(vault, "one-again"))
    shutil.rmtree(docking(vault, "one") / ".custody")
    found = run("verify", vault, "--json")
    assert kinds(found) == {"custody_missing"}


def test_a_docking_with_nothing_new_needs_no_checksums(vault: Path) -> None:
    folder = build(vault, Docking({}, docking_id="again", already_saved=(("B.MP4", b"b", "one"),)), Station())
    assert not (folder / "SHA256SUMS").exists()
    assert run("verify", folder, "--key", LINE).returncode == 0


def test_a_false_reference_and_a_forked_chain_are_found(tmp_path: Path) -> None:
    root, station = tmp_path / "vault", Station()
    build(root, Docking({"A.MP4": b"a"}, docking_id="one"), station)
    build(root, Docking({"B.MP4": b"b"}, docking_id="two", already_saved=(("X", b"x", "one"),)), station)
    assert kinds(run("verify", root, "--json")) == {"reference_wrong"}
    build(root, Docking({"C.MP4": b"c"}, docking_id="fork"), Station())
    assert kinds(run("verify", root, "--json")) == {"chain_broken", "reference_wrong", "seq_reused"}


def test_a_name_that_is_a_terminal_escape_is_printed_inert(vault: Path) -> None:
    name = b"\x1b]0;owned\x07\xff\xe2\x80\xaex.MP4"
    Path(os.fsdecode(os.fsencode(docking(vault, "one")) + b"/" + name)).write_bytes(b"x")
    for lang in ("zh", "en"):
        out = run("verify", vault, "--lang", lang).stdout
        assert "\x1b" not in out
        assert "\u202e" not in out
        assert r"\x1b]0;owned\x07\xff\u202ex.MP4" in out
    assert "\x1b" not in run("verify", vault, "--json").stdout


@pytest.mark.parametrize(
    "path", ["B.MP4", "DCIM", "SHA256SUMS", ".custody/station.vkey", ".custody/manifest.jsonl", ".custody/leaves", ""]
)
def test_what_cannot_be_read_is_exit_3_and_no_alarm(vault: Path, path: str) -> None:
    (docking(vault, "one") / path).chmod(0)
    above = [folder for folder in vault.parents if folder.is_relative_to(tempfile.gettempdir())][:-1]
    for folder in [vault, *above]:
        folder.chmod(0o755)
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)  # root reads everything
    try:
        with Hasher() as hasher:
            report = examine(os.fsencode(vault), [], lambda _: None, hasher)
    finally:
        os.seteuid(was)
        (docking(vault, "one") / path).chmod(0o755)
    findings = [f for f in report.findings if not f.is_information]
    assert {f.kind for f in findings} == {Kind.UNREADABLE}, findings
    assert report.exit == 3


def test_progress_is_for_terminals_only(vault: Path) -> None:
    assert run("verify", vault).stderr == ""
    main_end, other_end = pty.openpty()
    code = "import custody.cli as c, time; p=c.Progress(True); p.start(10); time.sleep(.3); p.add(5); p.end()"
    subprocess.run([sys.executable, "-c", code], stderr=other_end, check=True)
    os.close(other_end)
    shown = ""
    with suppress(OSError):  # EIO: all is read
        while part := os.read(main_end, 1000):
            shown += part.decode()
    os.close(main_end)
    assert " 50 %" in shown
    assert " s " in shown


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, 9 * CHUNK_BYTES + 1])
def test_digest_agrees_with_sha256sum_and_the_definition(tmp_path: Path, size: int) -> None:
    file = tmp_path / "f"
    file.write_bytes(pattern(1, size))
    found = json.loads(run("digest", file, "--json").stdout)
    with file.open("rb", buffering=0) as stream:
        wanted = digest_stream(stream)  # type: ignore[arg-type]
    assert found == {
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "tree_root": wanted.tree_root.hex(),
        "chunk_bytes": CHUNK_BYTES,
        "chunk_count": wanted.chunk_count,
        "size_bytes": size,
    }
    assert found["sha256"] in run("digest", file).stdout
    assert run("digest", tmp_path).returncode == 3
    assert run("digest", tmp_path / "none").returncode == 3


SHOWN = [
    ("envelopes/good.json", LINE, 0, "station.started.v1"),
    ("envelopes/payload-changed.json", LINE, 1, "NOT VERIFIED"),
    ("receipts/good.json", make.RECEIPT_KEY.verify_key.line, 0, "receipt.v1"),
    ("notes/checkpoint.txt", make.LOG_KEY.verify_key.line, 0, "checkpoint of hub.example/audit: 8 entries"),
    ("notes/body-changed.txt", make.LOG_KEY.verify_key.line, 1, "NOT VERIFIED"),
    ("keys/good.vkey", None, 0, "dock-test+"),
    ("manifests/good.jsonl", None, 0, "deleted_entry"),
    ("dockings/good/.custody/completed.dsse.json", LINE, 0, "docking.closed.v1"),
    ("dockings/good/.custody/leaves/DCIM/VID00001.MP4.leaves", None, 0, "3 leaves"),
    ("dockings/good/empty.log", None, 3, "neither"),
]


@pytest.mark.parametrize(("file", "key", "code", "text"), SHOWN)
def test_show(file: str, key: str | None, code: int, text: str) -> None:
    result = run("show", VECTORS / file, "--lang", "en", *(["--key", key] if key else []))
    assert result.returncode == code, result.stderr
    assert text in result.stdout
    assert run("show", VECTORS / file, "--lang", "zh").returncode in (0, 3)


@pytest.mark.parametrize("file", ["keys/good.vkey", "manifests/good.jsonl", SHOWN[8][0]])
def test_what_carries_no_signature_is_not_shown_as_signed_by_the_key_that_was_given(file: str) -> None:
    assert run("show", VECTORS / file, "--key", LINE).returncode == 1


def test_a_manifest_that_breaks_off_and_a_payload_nested_without_end_are_told(tmp_path: Path) -> None:
    whole = (VECTORS / "manifests/good.jsonl").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-9])
    result = run("show", tmp_path / "cut", "--lang", "en")
    assert result.returncode == 3
    assert "NOT VERIFIED" in result.stdout
    for depth in (500, 950, 20_000):
        payload = b'{"type":' + b"[" * depth + b"]" * depth + b"}"
        (tmp_path / "deep").write_bytes(seal("application/vnd.custodock.event+json", payload, STATION_KEY))
        result = run("show", tmp_path / "deep")
        assert (result.returncode, result.stderr) == (0, "")


def test_a_caller_keeps_its_own_signals(vault: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A process that left SIGPIPE to its default would be ended, without a word, by the next closed connection."""
    before = signal.getsignal(signal.SIGPIPE)
    assert main(["verify", os.fspath(vault)]) in (0, 1)
    assert signal.getsignal(signal.SIGPIPE) is before is signal.SIG_IGN


def test_output_cut_short_ends_quietly(vault: Path) -> None:
    command = f"{sys.executable} -m custody.cli show {docking(vault, 'one')}/.custody/manifest.jsonl | head -c 1"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert result.stderr == ""
