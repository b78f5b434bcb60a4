"""The sender's state: what is delivered is decided by receipts alone."""

from hypothesis import given
from hypothesis import strategies as st

from agent import outbox


def test_sends_nothing_before_the_link_is_up() -> None:
    assert outbox.allowance(outbox.SendState()) == 0


def test_goes_ahead_of_receipts_by_one_window_at_most() -> None:
    state = outbox.connected(outbox.SendState(), first_unreceipted=5)
    assert outbox.allowance(state) == outbox.WINDOW
    state = outbox.sent(state, 5 + outbox.WINDOW - 1, now=0.0)
    assert outbox.allowance(state) == 0
    state = outbox.receipted(state, 10, through=9, now=1.0)
    assert outbox.allowance(state) == 5


def test_reconnection_begins_with_the_first_unreceipted() -> None:
    state = outbox.sent(outbox.connected(outbox.SendState(), 1), 100, now=0.0)
    state = outbox.receipted(state, 40, through=39, now=1.0)
    state = outbox.connected(outbox.disconnected(state), 40)
    assert state.next_seq == 40


def test_hub_may_ask_for_more_than_was_receipted() -> None:
    state = outbox.receipted(outbox.sent(outbox.connected(outbox.SendState(), 1), 100, 0.0), 101, 100, 1.0)
    state = outbox.resend_from(state, 7, now=2.0)
    assert (state.next_seq, state.confirmed) == (7, 7)


def test_a_request_beyond_what_was_sent_is_nonsense() -> None:
    state = outbox.sent(outbox.connected(outbox.SendState(), 1), 10, 0.0)
    assert outbox.resend_from(state, 99, now=1.0) == state


def test_receipts_that_stay_away_start_the_sending_again() -> None:
    state = outbox.sent(outbox.connected(outbox.SendState(), 3), 10, now=0.0)
    assert not outbox.timed_out(state, outbox.RECEIPT_WAIT_SECONDS - 1)
    assert outbox.timed_out(state, outbox.RECEIPT_WAIT_SECONDS + 1)
    assert outbox.rewound(state).next_seq == 3


def test_a_hub_that_stays_away_is_asked_ever_more_rarely_and_a_receipt_ends_that() -> None:
    state, waits = outbox.connected(outbox.SendState(), 1), []
    for _ in range(8):
        state = outbox.rewound(outbox.sent(state, 10, now=0.0))
        waits.append(state.patience_seconds)
    assert waits == sorted(waits)
    assert waits[-1] == outbox.RECEIPT_WAIT_MAX_SECONDS
    assert outbox.receipted(state, 2, through=1, now=1.0).patience_seconds == outbox.RECEIPT_WAIT_SECONDS


def test_a_hub_that_opens_again_is_sent_to_at_once() -> None:
    state = outbox.connected(outbox.SendState(), 1)
    for _ in range(8):
        state = outbox.rewound(outbox.sent(state, 10, now=0.0))
    state = outbox.sent(state, 10, now=0.0)
    assert not outbox.timed_out(state, 100.0)
    opened = outbox.heard(state, 100.0)  # its checkpoint, after a silence
    assert outbox.timed_out(opened, 100.0)
    assert outbox.rewound(opened).next_seq == 1


def test_a_hub_that_is_there_and_gives_no_receipts_is_not_pressed() -> None:
    state = outbox.heard(outbox.connected(outbox.SendState(), 1), 0.0)
    for second in range(1, 300):
        state = outbox.heard(outbox.sent(state, 10, now=float(second)), float(second))
        if outbox.timed_out(state, float(second)):
            state = outbox.rewound(state)
    assert state.patience_seconds > outbox.RECEIPT_WAIT_SECONDS


def test_a_hub_that_lost_everything_gets_everything_again() -> None:
    """Its receipts for rows that had one already move the sending on, window by window."""
    queued, hub = 5 * outbox.WINDOW, 0
    state = outbox.connected(outbox.SendState(), queued + 1)
    state = outbox.resend_from(state, 1, now=0.0)
    while hub < queued:
        room = min(outbox.allowance(state), queued + 1 - state.next_seq)
        assert room > 0
        assert state.next_seq == hub + 1
        hub += room
        state = outbox.sent(state, hub, now=0.0)
        state = outbox.receipted(state, queued + 1, through=hub, now=0.0)


def test_a_late_receipt_for_old_rows_moves_nothing_back() -> None:
    state = outbox.sent(outbox.connected(outbox.SendState(), 50), 60, now=0.0)
    assert outbox.receipted(state, 50, through=20, now=1.0).confirmed == 50


steps = st.lists(
    st.one_of(
        st.tuples(st.just("queue"), st.integers(1, 900)),
        st.tuples(st.just("up"), st.just(0)),
        st.tuples(st.just("down"), st.just(0)),
        st.tuples(st.just("send"), st.integers(1, 600)),
        st.tuples(st.just("receipt"), st.integers(1, 700)),
        st.tuples(st.just("resend"), st.integers(1, 2000)),
        st.tuples(st.just("timeout"), st.just(0)),
    ),
    max_size=60,
)


@given(steps)
def test_whatever_happens_everything_is_delivered_in_order(history: list[tuple[str, int]]) -> None:
    """A hub that keeps the gapless prefix it was sent ends with everything once the link stays up."""
    state, queued, hub, now = outbox.SendState(), 0, 0, 0.0

    def send(state: outbox.SendState, limit: int) -> outbox.SendState:
        nonlocal hub
        last = min(queued, state.next_seq + min(limit, outbox.allowance(state)) - 1)
        if last < state.next_seq:
            return state
        if state.next_seq <= hub + 1:  # otherwise a gap: the hub takes nothing
            hub = max(hub, last)
        return outbox.sent(state, last, now)

    for kind, value in history:
        now += 1
        match kind:
            case "queue":
                queued += value
            case "up":
                state = outbox.connected(state, hub + 1)
            case "down":
                state = outbox.disconnected(state)
            case "send":
                state = send(state, value)
            case "receipt":
                state = outbox.receipted(state, hub + 1, hub, now)
            case "resend":
                state = outbox.resend_from(state, min(value, hub + 1), now)
            case "timeout":
                state = outbox.rewound(state)
        assert state.confirmed <= state.next_seq
    state = outbox.connected(state, hub + 1)
    for _ in range(queued // outbox.WINDOW + 2):
        state = outbox.receipted(send(state, queued), hub + 1, hub, now)
    assert hub == queued
