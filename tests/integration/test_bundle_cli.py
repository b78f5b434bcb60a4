"""`custody verify BUNDLE` as people and programs read it: exit codes, both languages, keys and witnesses."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from custody.checkpoint import SigningKey
from custody.cli import main
from custody.digest import CHUNK_BYTES
from tests.vectors.bundles import HUB_KEY, LOG_KEY, Bundle, build_bundle
from tests.vectors.dockings import OTHER_KEY, STATION_KEY

WITNESS = SigningKey.from_seed("witness.example/w1", bytes(range(160, 192)))
_RAW = b"\x04" + WITNESS.verify_key.public.public_bytes_raw()
_ID = hashlib.sha256(WITNESS.name.encode() + b"\n" + _RAW).digest()[:4]
WITNESS_LINE = f"{WITNESS.name}+{_ID.hex()}+{base64.b64encode(_RAW).decode()}"
TIME = 1_700_000_000
LOG, HUB, STATION = (key.verify_key.line for key in (LOG_KEY, HUB_KEY, STATION_KEY))


def cosign(note: str) -> str:
    """What a witness adds, by the text of C2SP tlog-cosignature."""
    body = note.split("\n\n", maxsplit=1)[0]
    signature = WITNESS.sign(f"cosignature/v1\ntime {TIME}\n{body}\n".encode())
    return f"{note}\u2014 {WITNESS.name} {base64.b64encode(_ID + TIME.to_bytes(8) + signature).decode()}\n"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "bundle"
    build_bundle(folder, Bundle(cosign=cosign))
    return folder


def run(capsys: pytest.CaptureFixture[str], bundle: Path, *words: str) -> tuple[int, str]:
    code = main(["verify", str(bundle), *words])
    return code, capsys.readouterr().out


def claims(capsys: pytest.CaptureFixture[str], bundle: Path, *keys: str) -> tuple[dict[str, str], dict[str, object]]:
    """Each claim with "" or the reason why it is not proved; and the whole answer."""
    words = [word for key in keys for word in ("--key", key)]
    answer = json.loads(run(capsys, bundle, "--json", *words)[1])
    return {c["claim"]: c.get("why", "") for c in answer["claims"]}, answer


def test_what_is_proved_depends_on_the_keys_given(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outside = {"register": "hub_says_so", "before_the_dock": "outside"}
    proved = dict.fromkeys(("footage", "chained", "dockings"), "")
    found, answer = claims(capsys, good)
    assert answer["exit"] == 0
    assert answer["authorship_proved"] is False
    unproved = {"whole": "log_key_from_bundle", "logged": "log_key_from_bundle", "signed": "keys_from_bundle"}
    assert found == proved | outside | unproved | {"one_face": "no_witness"}

    found, answer = claims(capsys, good, LOG)
    assert answer["authorship_proved"] is True
    proved |= dict.fromkeys(("whole", "signed", "logged"), "")
    assert found == proved | outside | {"one_face": "no_witness", "station_itself": "enrolled_by_hub"}

    found, answer = claims(capsys, good, LOG, STATION, HUB, WITNESS_LINE)
    assert found == proved | outside | {"cosigned": ""}
    assert answer["bundle"]["cosigned"] == [[f"{WITNESS.name}+{_ID.hex()}", "2023-11-14T22:13:20Z"]]


def test_a_witness_that_did_not_sign_is_told_and_a_forged_one_is_found(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build_bundle(tmp_path / "without", Bundle())
    found, answer = claims(capsys, tmp_path / "without", LOG, WITNESS_LINE)
    assert answer["exit"] == 0
    assert found["cosigned"] == "not_cosigned"
    assert found["one_face"] == "no_witness"
    later = Bundle(cosign=lambda note: note + cosign(note.replace("\n8\n", "\n9\n")).splitlines(keepends=True)[-1])
    build_bundle(tmp_path / "other", later)
    _, answer = claims(capsys, tmp_path / "other", LOG, WITNESS_LINE)
    assert [f["kind"] for f in answer["findings"]] == ["cosignature_altered"]
    assert answer["exit"] == 1
    assert claims(capsys, tmp_path / "other", LOG)[1]["exit"] == 0  # nobody asked about that witness


@pytest.mark.parametrize("keys", [(OTHER_KEY.verify_key.line,), (STATION,), (HUB, WITNESS_LINE)])
def test_keys_among_which_is_none_of_the_log_do_not_pass(
    good: Path, capsys: pytest.CaptureFixture[str], keys: tuple[str, ...]
) -> None:
    _, answer = claims(capsys, good, *keys)
    assert answer["exit"] == 1
    assert answer["findings"][0]["kind"] == "signer_unknown"


def test_a_station_key_other_than_the_enrolled_one_is_found(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stranger = SigningKey.from_seed(STATION_KEY.name, bytes(32)).verify_key.line
    _, answer = claims(capsys, good, LOG, stranger)
    assert answer["exit"] == 1
    assert {f["kind"] for f in answer["findings"]} == {"key_file_other", "signer_unknown"}


def test_people_read_which_seconds_differ_and_what_is_not_proved(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = shutil.copytree(good, tmp_path / "bundle")
    path = next((bundle / "data").rglob("VID00001.MP4"))
    content = bytearray(path.read_bytes())
    content[CHUNK_BYTES + 3] ^= 1
    path.write_bytes(content)
    code, zh = run(capsys, bundle, "--key", LOG, "--lang", "zh")
    assert code == 1
    assert "被改动：内容与封存时不符" in zh
    assert "分块 1（自 0 起，共 2 块）" in zh
    assert "约第 60.0–60.0 秒（估计）" in zh
    assert "全部录像与封存时一致：见上列发现。" in zh
    assert zh.splitlines()[-1] == "验证不通过：被改动或不完整（1 项发现）"
    code, en = run(capsys, bundle, "--key", LOG, "--lang", "en")
    assert "about 60.0–60.0 s (estimate)" in en
    assert "That all footage is as sealed: see the findings above." in en


def test_other_exit_codes(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path / "nothing")]) == 3
    (tmp_path / "empty").mkdir()
    assert run(capsys, tmp_path / "empty")[0] == 4
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(good), "--key", "no key"])
    assert ended.value.code == 2


@pytest.mark.parametrize(
    "name", ["data", "envelopes", "proofs", "untrusted-keys", "closing", "leaves", "footage", "page"]
)
def test_what_the_system_refuses_is_unreadable_and_no_alteration(good: Path, tmp_path: Path, name: str) -> None:
    bundle = shutil.copytree(good, tmp_path / "bundle")
    files = {"footage": next((bundle / "data").rglob("VID00001.MP4")), "page": bundle / "说明.html"}
    files.get(name, bundle / name).chmod(0)
    # root would read it all the same, unless it gives that right up
    bare = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    words = [sys.executable, "-m", "custody.cli", "verify", str(bundle), "--key", LOG, "--key", HUB, "--json"]
    ran = subprocess.run([*bare, *words], capture_output=True, text=True, check=False)
    assert {f["kind"] for f in json.loads(ran.stdout)["findings"]} == {"unreadable"}, ran.stdout
    assert ran.returncode == 3


def test_a_folder_behind_a_link_is_not_followed(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = shutil.copytree(good, tmp_path / "bundle")
    (bundle / "proofs").rename(tmp_path / "proofs")
    (bundle / "proofs").symlink_to(tmp_path / "proofs")
    _, answer = claims(capsys, bundle, LOG)
    assert answer["exit"] == 1
    kinds = {f["kind"] for f in answer["findings"]}
    assert {"bag_file_unknown", "bag_file_missing", "proof_altered"} <= kinds


def test_what_is_left_of_a_bundle_is_still_judged_as_one(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = shutil.copytree(good, tmp_path / "bundle")
    for name in ("bagit.txt", "tagmanifest-sha256.txt", "manifest-sha256.txt", "checkpoint", "custody.pyz"):
        (bundle / name).unlink()
    assert run(capsys, bundle, "--key", LOG)[0] == 1
