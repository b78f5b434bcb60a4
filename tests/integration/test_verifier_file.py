"""The verifier in one file: the same bytes everywhere, whole, and understandable where it cannot run."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from custody.zipped import verifier_zipapp

SOURCES = Path(__file__).parents[2] / "custody"


def test_the_verifier_has_the_same_bytes_wherever_it_is_built(tmp_path: Path) -> None:
    """Other folder, other times, other modes, other time zone, other hash seed: the same file."""
    copy = tmp_path / "elsewhere" / "custody"
    copy.mkdir(parents=True)
    for number, source in enumerate(sorted(SOURCES.glob("*.py"), reverse=True)):
        (copy / source.name).write_bytes(source.read_bytes())
        (copy / source.name).chmod(0o600)
        os.utime(copy / source.name, (number, number))
    environment = {"PYTHONPATH": str(copy.parent), "PYTHONHASHSEED": "7", "TZ": "Asia/Shanghai", "LC_ALL": "C"}
    command = [sys.executable, "-m", "custody.zipped", str(tmp_path / "custody.pyz")]
    subprocess.run(command, env=environment, cwd=tmp_path, check=True)
    assert (tmp_path / "custody.pyz").read_bytes() == verifier_zipapp()


def test_the_verifier_holds_this_package_and_nothing_else() -> None:
    archive = zipfile.ZipFile(io.BytesIO(verifier_zipapp()))
    names = {f"custody/{source.name}" for source in SOURCES.glob("*.py")}
    assert set(archive.namelist()) == {"__main__.py", *names}
    assert archive.testzip() is None


def test_the_verifier_says_in_both_languages_that_cryptography_is_missing(tmp_path: Path) -> None:
    (tmp_path / "custody.pyz").write_bytes(verifier_zipapp())
    bare = [sys.executable, "-I", "-S", "custody.pyz", "verify", "."]  # without site-packages
    ran = subprocess.run(bare, cwd=tmp_path, capture_output=True, check=False, env={"PYTHONUTF8": "1"})
    assert ran.returncode == 2
    said = ran.stderr.decode()
    assert "缺少 Python 库 cryptography" in said
    assert "Nothing was verified" in said
    assert ran.stdout == b""


def test_the_starter_is_read_by_old_pythons() -> None:
    """Its own text must parse where the package does not: no syntax after Python 3.0."""
    source = zipfile.ZipFile(io.BytesIO(verifier_zipapp())).read("__main__.py").decode()
    compile(source, "__main__.py", "exec")
    assert 'f"' not in source
    assert ":=" not in source
    assert source.index("version_info < (3, 11)") < source.index("from custody.cli")
