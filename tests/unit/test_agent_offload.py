"""The plan: what is copied, what is known, which version and which name."""

from agent.offload import PATH_BYTES_MAX, DockingPlan, Names, copy_item, path_key, plan_entry, space_needed, statable
from agent.sealing import time_text
from agent.source import Entry, Finding, FindingKind, TimeBasis
from agent.store import Saved
from agent.wire import path_from_text, path_to_text

PLAN = DockingPlan("CAM", b"CAM/2026/11/23/D2")
CLIP = Entry((b"DCIM", b"A.MP4"), 3 << 20, 1_000_000_000, "h1")
SAVED = Saved("D1", 3 << 20, 1_000_000_000, b"L" * 32, b"S" * 32, "sealed")


def test_new_file_is_version_one() -> None:
    row = plan_entry(PLAN, 1, CLIP, [], twins=0)
    assert (row.state, row.version, row.known_leaf) == ("planned", 1, None)
    assert row.target == b"CAM/2026/11/23/D2/DCIM/A.MP4"
    assert row.leaves_target == b"CAM/2026/11/23/D2/.custody/leaves/DCIM/A.MP4.leaves"


def test_same_size_and_time_is_a_candidate_that_the_first_chunk_must_confirm() -> None:
    row = plan_entry(PLAN, 1, CLIP, [SAVED], twins=0)
    assert (row.state, row.known_leaf, row.known_in, row.sha256) == ("planned", b"L" * 32, "D1", b"S" * 32)
    assert row.version == 2  # used only when the chunk turns out to differ


def test_other_size_or_time_is_a_new_version() -> None:
    for saved in (
        Saved("D1", 5, 1_000_000_000, b"L" * 32, b"S" * 32, "sealed"),
        Saved("D1", 3 << 20, 7, b"", b"", "sealed"),
    ):
        row = plan_entry(PLAN, 1, CLIP, [saved], twins=0)
        assert (row.version, row.known_leaf) == (2, None)
        assert row.target.endswith(b"A%v2.MP4")


def test_a_copy_of_a_changing_file_never_makes_it_known() -> None:
    row = plan_entry(PLAN, 1, CLIP, [Saved("D1", 3 << 20, 1_000_000_000, b"L" * 32, b"S" * 32, "changed")], twins=0)
    assert row.known_leaf is None


def test_empty_file_saved_before_is_known_without_reading() -> None:
    entry = Entry((b"E.MP4",), 0, 5, "h")
    assert plan_entry(PLAN, 1, entry, [Saved("D1", 0, 5, b"", b"S" * 32, "sealed")], twins=0).state == "known"


def test_twins_of_a_damaged_directory_get_different_names_and_parts() -> None:
    first, second = (plan_entry(PLAN, n, CLIP, [], twins=n - 1) for n in (1, 2))
    assert first.target != second.target
    assert first.part_key != second.part_key


def test_an_unfinished_part_is_found_again_by_the_next_docking() -> None:
    later = DockingPlan("CAM", b"CAM/2026/12/01/D9")
    assert plan_entry(PLAN, 1, CLIP, [], 0).part_key == plan_entry(later, 7, CLIP, [], 0).part_key


def test_small_files_have_no_leaves_file() -> None:
    assert copy_item(plan_entry(PLAN, 1, Entry((b"a",), 1 << 20, None, "h"), [], 0)).leaves_target is None


def test_path_text_keeps_every_byte() -> None:
    path = (bytes(range(256)), b"", b"/", "视频".encode())
    assert path_from_text(path_to_text(path)) == path


def test_space_covers_footage_and_margin() -> None:
    assert space_needed(10 << 30, 48) > (10 << 30) + (256 << 20)


def test_times_of_hostile_cards() -> None:
    assert time_text(None, TimeBasis.UTC) is None
    assert time_text(2**70, TimeBasis.UTC) is None
    assert time_text(1_000_000_000 * 10**9, TimeBasis.UTC) == "2001-09-09T01:46:40Z"
    assert time_text(1_000_000_000 * 10**9, TimeBasis.CAMERA_LOCAL) == "2001-09-09T01:46:40"


def targets(*paths: tuple[bytes, ...]) -> list[bytes]:
    names = Names()
    rows = []
    for n, path in enumerate(paths, 1):
        place = names.place(path, path_key(path_to_text(path)))
        rows.append(plan_entry(PLAN, n, Entry(path, 2 << 20, None, "h"), [], *place))
    return [row.target.removeprefix(PLAN.folder + b"/") for row in rows]


def test_a_damaged_card_lists_a_file_and_a_folder_of_one_name() -> None:
    """Whichever comes first: no name is a file and a folder at once, and none is given twice."""
    file, inside, deeper = (b"DCIM",), (b"DCIM", b"A.MP4"), (b"DCIM", b"100", b"B.MP4")
    for order in ((file, inside, deeper), (inside, file, deeper), (inside, deeper, file), (file, file, inside)):
        names = targets(*order)
        assert len(set(names)) == len(names)
        folders = {name[:at] for name in names for at in range(len(name)) if name[at : at + 1] == b"/"}
        assert not folders & set(names)
    assert targets(inside, deeper) == [b"DCIM/A.MP4", b"DCIM/100/B.MP4"]


def test_a_file_copied_again_because_it_changed_is_no_twin_of_itself() -> None:
    names, path = Names(), (b"DCIM", b"A.MP4")
    key = path_key(path_to_text(path))
    assert [names.place(path, key), names.place(path, key)] == [(0, False), (1, False)]
    names.begin_round()
    assert names.place(path, key) == (0, False)


def test_what_no_seal_can_state_becomes_a_finding_that_a_manifest_can() -> None:
    deep = (b"d" * 250,) * 200
    for entry in (Entry(deep, 5, None, "h"), Entry((b"a",), 2**64 - 1, None, "h"), Entry((b"a",), -1, None, "h")):
        found = statable(entry)
        assert isinstance(found, Finding)
        assert found.kind is FindingKind.UNREADABLE_ENTRY
        assert sum(map(len, found.path)) <= PATH_BYTES_MAX
    assert statable(CLIP) == CLIP
    assert statable(Entry((b"a",), 5, 2**70, "h")) == Entry((b"a",), 5, None, "h")


def test_a_deleted_entry_may_claim_any_size_and_place() -> None:
    found = statable(Finding(FindingKind.DELETED_ENTRY, (b"a",) * 9000, "x" * 5000, -1, 2**64 - 1))
    assert isinstance(found, Finding)
    assert (found.offset_bytes, found.length_bytes, len(found.detail)) == (None, None, 1000)
    assert sum(len(part) + 1 for part in found.path) <= PATH_BYTES_MAX
