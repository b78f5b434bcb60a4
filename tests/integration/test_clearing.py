"""custodock-clear on real FAT and exFAT cards: exactly the authorised files go, and everything else stays as it was."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from agent.card import open_source
from agent.opening import open_dock
from agent.source import FindingKind
from custody.release import ReleaseRefused
from tests.integration.cards import digests, listing
from tests.integration.clearer import FILES, Clearer, card_of, fsck
from tests.release_case import docked

KINDS = ["fat12", "fat16", "fat32", "fat32-mbr", "exfat", "exfat-gpt"]


@pytest.mark.needs_root
@pytest.mark.parametrize("kind", KINDS)
async def test_exactly_the_authorised_files_go(kind: str, tmp_path: Path) -> None:
    """All others keep their bytes, and no sector changes but directory records, links or bits, and the free count."""
    gone = [name for name in FILES if "KEEP" not in name and "LOG" not in name and "0030" not in name]
    with card_of(kind, tmp_path / "cards") as card, open_dock(tmp_path / "vault", tmp_path) as opened:
        before = card.read_bytes()
        case = await docked(opened, card)
        assert card.read_bytes() == before
        clearer = Clearer(tmp_path, card.parent, opened.station.id)
        with clearer.connected() as peer:
            assert peer.open(case)["files"] == len(FILES)
            for name in gone:
                peer.delete(case, name)
            assert peer.close()["others_same"]
        source = open_source(card)
        left, findings = listing(source)
        assert {b"/".join(path).decode() for path in left} == FILES.keys() - set(gone)
        assert digests(source) == {n: hashlib.sha256(FILES[n]).hexdigest() for n in FILES.keys() - set(gone)}
        assert {f.kind for f in findings} <= {FindingKind.DELETED_ENTRY}, "clusters were lost"
        source.close()
        fsck(card, kind)
        after = card.read_bytes()
        changed = {at for at in range(0, len(after), 512) if after[at : at + 512] != before[at : at + 512]}
        contents = [content for name, content in FILES.items() if len(content) > 512]
        assert all(before[at : at + 512] not in content for at in changed for content in contents), (
            "footage was written"
        )
        assert len(changed) < 120
        with clearer.connected() as peer, pytest.raises(ReleaseRefused, match="already_used"):
            peer.open(case)
