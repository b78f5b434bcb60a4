"""Whether a camera may go on duty (Art. 7: no fault, battery full, room on the card). Pure; unknown is never ready.

`check` collects every reason that speaks against a camera, never only the first, each with its article and its words
in both languages (`REASONS`, the one table of them). More charge or more room never makes a verdict worse.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from enum import IntEnum, StrEnum
from statistics import quantiles

from agent.battery import BatteryFinding
from agent.charge import FUTURE_TOLERANCE, MAX_AGE, ChargeState, Reading
from agent.source import FindingKind
from custody.event import Clock

GA_T_BYTES_PER_SECOND = 2.6e9 / 3600  # GA/T 947.2: one hour of 1080p takes at most 2.6 GB
SPACE_HOURS = 2.0
FULL_CARD_BYTES = 64 << 20  # less than this is no room at all: one short segment
EARLIEST_CLOCK = datetime(2020, 1, 1, tzinfo=UTC)  # a camera that says less has lost its clock (1970, 1980, 2000, 2015)
SEGMENT_SECONDS_MIN = 30
SEGMENTS_MIN = 3


class Level(IntEnum):
    """How a verdict ends; the worst reason decides."""

    READY = 0
    ATTENTION = 1  # may be taken; somebody should look
    NOT_READY = 2  # taking it alerts the supervisor

    @property
    def word(self) -> str:
        """As it travels: ready, attention, not_ready."""
        return self.name.lower()


class Code(StrEnum):
    """Reasons. Never change or reuse one: verdicts are signed."""

    CHARGE_UNKNOWN = "charge_unknown"
    CHARGE_LOW = "charge_low"
    CHARGE_INCOMPLETE = "charge_incomplete"
    CHARGE_FAULT = "charge_fault"
    CHARGE_FALLING = "charge_falling"
    BATTERY_WEAK = "battery_weak"
    NO_CARD = "no_card"
    SPACE_UNKNOWN = "space_unknown"
    SPACE_LOW = "space_low"
    CARD_FULL = "card_full"
    CARD_FAULT = "card_fault"
    FOOTAGE_NOT_SAFE = "footage_not_safe"
    CLOCK_UNKNOWN = "clock_unknown"
    CLOCK_WRONG = "clock_wrong"
    CLOCK_OFF = "clock_off"
    CLOCK_AHEAD = "clock_ahead"
    CLOCK_UNSET = "clock_unset"
    STATION_CLOCK_UNSURE = "station_clock_unsure"
    CHECK_STALE = "check_stale"
    LOAN_OPEN = "loan_open"
    CAMERA_DISPUTED = "camera_disputed"
    DEVICE_REFUSED = "device_refused"


@dataclass(frozen=True, slots=True)
class Words:
    """What a reason means: its article of the regulation, how bad it is, and its sentences with places for figures."""

    article: int
    level: Level
    zh: str
    en: str


_NOT, _LOOK = Level.NOT_READY, Level.ATTENTION
REASONS: Mapping[Code, Words] = {
    Code.CHARGE_UNKNOWN: Words(7, _NOT, "电量未知（来源：{source}）。请看记录仪自身显示；请勿视为已充满。",
        "The charge is unknown ({source}: {why}). Look at the camera's own display; do not take it for full."),
    Code.CHARGE_LOW: Words(7, _NOT, "电量 {percent} %，要求 {wanted} %。请继续充电。",
        "The battery holds {percent} %, {wanted} % are wanted. Leave it charging."),
    Code.CHARGE_INCOMPLETE: Words(7, _NOT, "正在充电，尚未充满（电量数值未知）。请等到充满。",
        "It is still charging; how far is not told. Wait until it is full."),
    Code.CHARGE_FAULT: Words(7, _NOT, "充电或电池故障（{source}：{why}）。请取下检查，换用其他记录仪。",
        "Charging or battery fault ({source}: {why}). Take it out for inspection and use another camera."),
    Code.CHARGE_FALLING: Words(7, _LOOK, "在仓位中电量仍在下降。请清洁触点或换一个仓位。",
        "It loses charge although docked. Clean its contacts or use another bay."),
    Code.BATTERY_WEAK: Words(6, _LOOK, "电池可能已老化：{why_zh}请安排更换电池。",
        "The battery may be worn: {why_en} Have it replaced."),
    Code.NO_CARD: Words(7, _NOT, "未发现存储卡或存储空间。请插入存储卡。",
        "No card or storage was found in it. Insert a card."),
    Code.SPACE_UNKNOWN: Words(7, _NOT, "剩余空间未知。请重新接入记录仪。",
        "The free space is unknown. Dock the camera again."),
    Code.SPACE_LOW: Words(7, _NOT, "剩余空间约可录 {hours} 小时，要求 {wanted} 小时。请在录像安全后清理。",
        "There is room for about {hours} h, {wanted} h are wanted. Clear it once its footage is safe."),
    Code.CARD_FULL: Words(7, _NOT, "存储卡已满。录像安全后方可清理。",
        "The card is full. Clear it only once its footage is safe."),
    Code.CARD_FAULT: Words(7, _NOT, "上次读取发现存储卡故障 {count} 处。请保留该卡并更换新卡。",
        "The last reading met {count} faults of the card. Keep that card and use a new one."),
    Code.FOOTAGE_NOT_SAFE: Words(15, _NOT, "还有 {count} 个文件未安全入库，再次录制可能覆盖。请等待复制完成。",
        "{count} files are not yet safe in the vault; recording could overwrite them. Wait for the copy."),
    Code.CLOCK_UNKNOWN: Words(10, _LOOK, "无法得知记录仪时钟。请对照本站时间查看其屏幕。",
        "The camera's clock cannot be read. Compare its display with the dock's time."),
    Code.CLOCK_WRONG: Words(10, _NOT, "时钟慢 {seconds} 秒，超出限值。请校时。",
        "Its clock is {seconds} s behind, beyond the limit. Set it."),
    Code.CLOCK_OFF: Words(10, _LOOK, "时钟慢 {seconds} 秒。请尽快校时。",
        "Its clock is {seconds} s behind. Set it soon."),
    Code.CLOCK_AHEAD: Words(10, _NOT, "时钟快 {seconds} 秒，录像时间会晚于真实时间。请校时。",
        "Its clock is {seconds} s ahead: footage would be stamped in the future. Set it."),
    Code.CLOCK_UNSET: Words(10, _NOT, "时钟已丢失（显示 {year} 年）。请校时并检查电池。",
        "Its clock was lost (it says {year}). Set it and check the battery."),
    Code.STATION_CLOCK_UNSURE: Words(10, _LOOK, "本采集站时钟未同步，无法据此判断记录仪时钟。请检查网络对时。",
        "The dock's own clock is not synchronised, so the camera's cannot be judged by it. Check time service."),
    Code.CHECK_STALE: Words(7, _NOT, "尚无有效检查，或检查已过 {hours} 小时。请重新接入记录仪。",
        "There is no check, or it is older than {hours} h. Dock the camera again."),
    Code.LOAN_OPEN: Words(6, _LOOK, "借用登记尚未归还（{count} 条）。请先办理归还。",
        "{count} loans of it are still open. Record the return first."),
    Code.CAMERA_DISPUTED: Words(6, _NOT, "记录仪身份存疑，请由管理人员核对序列号。",
        "It is disputed which camera this is. Have the custodian compare serial numbers."),
    Code.DEVICE_REFUSED: Words(2, _NOT, "该设备未登记或已被隔离，不得用于执法。",
        "This device is not registered or was set aside: not for duty."),
}  # fmt: skip


class ClockEvidence(StrEnum):
    """How the camera's time became known."""

    REPORTED = "reported"  # the camera told its clock in this docking, or the dock set it and read it back
    FILE_TIMES = "file_times"  # the newest stamp on its card: can prove a clock ahead or lost, never a right one
    NONE = "none"


@dataclass(frozen=True, slots=True)
class CameraClock:
    """What is known of a camera's clock: what it said, and the station's time at that moment (both aware)."""

    evidence: ClockEvidence = ClockEvidence.NONE
    camera_at: datetime | None = None
    station_at: datetime | None = None

    @property
    def offset_seconds(self) -> float | None:
        """Camera minus station: above zero is ahead."""
        if self.evidence is ClockEvidence.NONE or self.camera_at is None or self.station_at is None:
            return None
        return (self.camera_at - self.station_at).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraFacts:
    """What is known of one camera; the defaults mean: not known, or nothing of the kind."""

    charge: Reading | None = None  # the best of all, see charge.best_reading
    battery: BatteryFinding | None = None
    card_present: bool = True
    free_bytes: int | None = None
    total_bytes: int | None = None
    bytes_per_second: float | None = None  # its own, see `recording_rate`
    card_faults: int = 0  # of the last docking, see `card_faults`
    files_not_safe: int | None = None  # listed and not in the vault; None: not counted yet
    clock: CameraClock = field(default_factory=CameraClock)
    station_clock: Clock = "unknown"
    checked_at: datetime | None = None  # when the dock last looked at the camera itself
    open_loans: int = 0
    disputed: bool = False
    refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What this bureau asks of a camera, from `effective_from` on (Art. 20: each day by its own policy, `policies`)."""

    effective_from: date
    charge_percent: int = 80
    space_hours: float = SPACE_HOURS  # 8 where a full shift is asked for
    bytes_per_second: float = GA_T_BYTES_PER_SECOND  # where the camera's own rate is not known
    clock_ready_seconds: int = 60  # GA/T 947.2 allows 3 s a day: reached after 20 days without setting
    clock_attention_seconds: int = 600  # behind by more: not ready
    reading_age: timedelta = MAX_AGE
    check_age: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that speaks against the camera, in words for people."""

    code: Code
    level: Level
    article: int
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer: `level` is that of the worst reason; without reasons the camera is ready."""

    level: Level
    reasons: tuple[Reason, ...]
    hours_left: float | None  # of recording, on the card
    policy_from: date
    at: datetime


def check(facts: CameraFacts, policy: Policy, now: datetime) -> Verdict:
    """The verdict on a camera at `now` (aware), every reason in the order of `Code`."""
    rate = facts.bytes_per_second or policy.bytes_per_second
    hours = None if facts.free_bytes is None else max(0, facts.free_bytes) / rate / 3600
    found = [
        *_charge(facts, policy, now),
        *_space(facts, policy, hours),
        *_card(facts),
        *_clock(facts, policy),
        *_standing(facts, policy, now),
    ]
    reasons = tuple(sorted(found, key=lambda r: list(Code).index(r.code)))
    level = max((r.level for r in reasons), default=Level.READY)
    return Verdict(level, reasons, None if hours is None else round(hours, 1), policy.effective_from, now)


def stricter(policy: Policy, charge_percent: int | None, space_hours: float | None) -> Policy:
    """The policy for a camera whose profile asks for so much (None: for nothing): of each pair the stricter one.

    A profile can only ask for more than the bureau does; the day of the policy stays the bureau's.
    """
    return replace(
        policy,
        charge_percent=max(policy.charge_percent, charge_percent or 0),
        space_hours=max(policy.space_hours, space_hours or 0),
    )


def recording_rate(segments: Iterable[tuple[int, int]]) -> float | None:
    """A camera's own bytes per second from (bytes, milliseconds) of its segments; None when too few are known.

    The upper quartile: room must do for lively scenes too. Segments under 30 s are mostly container.
    """
    rates = [size / (ms / 1000) for size, ms in segments if ms >= SEGMENT_SECONDS_MIN * 1000 and size > 0]
    return quantiles(rates, n=4, method="inclusive")[2] if len(rates) >= SEGMENTS_MIN else None


def card_faults(finding_counts: Mapping[str, int], gap_files: int) -> int:
    """How many faults of the card a docking met: unreadable directories and entries, loops, and files with gaps.

    The arguments are `Store.finding_counts` and `Store.gap_files`. Deleted entries and orphans are no card's fault.
    """
    kinds = (FindingKind.UNREADABLE_DIRECTORY, FindingKind.UNREADABLE_ENTRY, FindingKind.DIRECTORY_LOOP)
    return gap_files + sum(finding_counts.get(kind, 0) for kind in kinds)


def _reason(code: Code, **figures: object) -> Reason:
    words = REASONS[code]
    return Reason(code, words.level, words.article, words.zh.format(**figures), words.en.format(**figures))


def _charge(facts: CameraFacts, policy: Policy, now: datetime) -> Iterator[Reason]:
    reading = facts.charge
    if facts.battery is not None:
        yield _reason(Code.BATTERY_WEAK, why_zh=facts.battery.zh, why_en=facts.battery.en)
    if reading is None:
        yield _reason(Code.CHARGE_UNKNOWN, source="-", why="never read")
    elif not reading.tells():
        yield _reason(Code.CHARGE_UNKNOWN, source=reading.source, why=reading.detail)
    elif not _recent(reading.at, now, policy.reading_age):
        yield _reason(Code.CHARGE_UNKNOWN, source=reading.source, why=f"read {reading.at.astimezone(UTC):%m-%d %H:%M}Z")
    elif reading.state is ChargeState.FAULT:
        yield _reason(Code.CHARGE_FAULT, source=reading.source, why=reading.detail)
    elif reading.percent is not None:
        if reading.percent < policy.charge_percent:
            yield _reason(Code.CHARGE_LOW, percent=reading.percent, wanted=policy.charge_percent)
        if reading.state is ChargeState.DISCHARGING:
            yield _reason(Code.CHARGE_FALLING)
    elif reading.state in (ChargeState.CHARGING, ChargeState.TAPERING):
        yield _reason(Code.CHARGE_INCOMPLETE)
    elif reading.state is not ChargeState.FULL:
        yield _reason(Code.CHARGE_UNKNOWN, source=reading.source, why=reading.detail)


def _recent(at: datetime, now: datetime, age: timedelta) -> bool:
    return -FUTURE_TOLERANCE <= now - at <= age


def _space(facts: CameraFacts, policy: Policy, hours: float | None) -> Iterator[Reason]:
    if not facts.card_present:
        yield _reason(Code.NO_CARD)
    elif facts.free_bytes is None or hours is None or facts.total_bytes == 0:
        yield _reason(Code.SPACE_UNKNOWN)
    elif facts.free_bytes < FULL_CARD_BYTES:
        yield _reason(Code.CARD_FULL)
    elif hours < policy.space_hours:
        yield _reason(Code.SPACE_LOW, hours=f"{int(hours * 10) / 10:g}", wanted=f"{policy.space_hours:g}")


def _card(facts: CameraFacts) -> Iterator[Reason]:
    if facts.card_faults:
        yield _reason(Code.CARD_FAULT, count=facts.card_faults)
    if facts.files_not_safe is None and facts.card_present:
        yield _reason(Code.FOOTAGE_NOT_SAFE, count="?")
    elif facts.files_not_safe:
        yield _reason(Code.FOOTAGE_NOT_SAFE, count=facts.files_not_safe)


def _clock(facts: CameraFacts, policy: Policy) -> Iterator[Reason]:
    """A lost or fast clock is never ready: its footage would contradict every other record."""
    offset, camera_at = facts.clock.offset_seconds, facts.clock.camera_at
    if camera_at is not None and facts.clock.evidence is not ClockEvidence.NONE and camera_at < EARLIEST_CLOCK:
        yield _reason(Code.CLOCK_UNSET, year=camera_at.year)
        return
    if offset is not None and offset > policy.clock_ready_seconds:
        yield _reason(Code.CLOCK_AHEAD, seconds=round(offset))
    elif offset is None or facts.clock.evidence is ClockEvidence.FILE_TIMES:
        yield _reason(Code.CLOCK_UNKNOWN)
    elif -offset > policy.clock_attention_seconds:
        yield _reason(Code.CLOCK_WRONG, seconds=round(-offset))
    elif -offset > policy.clock_ready_seconds:
        yield _reason(Code.CLOCK_OFF, seconds=round(-offset))
    if facts.station_clock != "synchronised":
        yield _reason(Code.STATION_CLOCK_UNSURE)


def _standing(facts: CameraFacts, policy: Policy, now: datetime) -> Iterator[Reason]:
    if facts.checked_at is None or not _recent(facts.checked_at, now, policy.check_age):
        yield _reason(Code.CHECK_STALE, hours=f"{policy.check_age.total_seconds() / 3600:g}")
    if facts.open_loans:
        yield _reason(Code.LOAN_OPEN, count=facts.open_loans)
    if facts.disputed:
        yield _reason(Code.CAMERA_DISPUTED)
    if facts.refused:
        yield _reason(Code.DEVICE_REFUSED)
