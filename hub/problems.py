"""What a request can fail with: one tree, stable codes, said to people as a page and to programs as RFC 9457."""

from __future__ import annotations

from typing import ClassVar

from hub.errors import DomainError
from hub.language import mark


class Problem(DomainError):
    """A request that cannot be served. `code` is stable; `title` and `advice` are translated where they are shown."""

    title: ClassVar[str]
    advice: ClassVar[str]
    retry_after_seconds: int | None = None


class NotSignedIn(Problem):
    """Nobody is signed in, or the session has ended. Pages answer with the way to the sign-in page."""

    code = "not_signed_in"
    http_status = 401
    title = mark("Please sign in")
    advice = mark("You are not signed in, or your session has ended.")


class PasswordChangeDue(Problem):
    """The account still has the password it was created with. Pages answer with the way to the change form."""

    code = "password_change_due"
    http_status = 403
    title = mark("Choose a new password first")
    advice = mark("Your account still has its first password. Replace it, then go on.")


class CodeDue(Problem):
    """The password was right; the code of the person's authenticator is still to come."""

    code = "code_due"
    http_status = 403
    title = mark("Enter the code of your authenticator")
    advice = mark("Your account signs in with a second factor. Enter its code, then go on.")


class NotAllowed(Problem):
    """The role does not include this action."""

    code = "not_allowed"
    http_status = 403
    title = mark("You may not see this page")
    advice = mark("Your role does not include it. If you need it for your work, ask the administrator.")


class FormExpired(Problem):
    """A form came without the token of this session: an old page, or another site's."""

    code = "form_expired"
    http_status = 403
    title = mark("This form has expired")
    advice = mark("Nothing was changed. Go back, load the page again and repeat your entry.")


class NotFound(Problem):
    """Nothing is stored under this address."""

    code = "not_found"
    http_status = 404
    title = mark("Page not found")
    advice = mark("There is nothing at this address. Check it, or start from the overview.")


class MethodNotAllowed(Problem):
    """The address exists, but not for this method."""

    code = "method_not_allowed"
    http_status = 405
    title = mark("Not possible this way")
    advice = mark("This address cannot be used like that. Start from the overview.")


class BadQuery(Problem):
    """A filter, cursor or form field has no meaning."""

    code = "bad_query"
    http_status = 422
    title = mark("This search cannot be understood")
    advice = mark("A date, filter or page mark is not valid. Clear the filters and try again.")


class BadAddress(Problem):
    """An address that no resource of this kind can have, now or later."""

    code = "bad_address"
    http_status = 400
    title = mark("This address cannot exist")
    advice = mark("It is not written as the addresses of log tiles are. See custody/spec/tiles.md.")


class FirstRunClosed(Problem):
    """Two browsers made the first administrator: the other one was faster."""

    code = "first_run_closed"
    http_status = 409
    title = mark("Somebody else was faster")
    advice = mark(
        "This hub has its first administrator since a moment ago; you did not become it. If that was nobody you "
        "know, stop the hub: whoever did it had its code."
    )


class TooManyAttempts(Problem):
    """Too many failed sign-ins for this name or from this address."""

    code = "too_many_attempts"
    http_status = 429
    title = mark("Too many failed attempts")
    advice = mark("Signing in is paused for a while. Wait, then try again.")

    def __init__(self, retry_after_seconds: int) -> None:
        """`retry_after_seconds`: how long it stays closed."""
        super().__init__(self.code)
        self.retry_after_seconds = retry_after_seconds


class SecondPersonNeeded(Problem):
    """Whoever asked for something tries to approve it."""

    code = "second_person_needed"
    http_status = 403
    title = mark("Another person must approve this")
    advice = mark("Nothing was changed. Whoever asks for it never approves it; ask a colleague with the right role.")


class CodeNotTaken(Problem):
    """A decision came with a code that is wrong, too old or used."""

    code = "code_not_taken"
    http_status = 422
    title = mark("This code is not right, too old, or was used already. Wait for the next one.")
    advice = mark("Nothing was changed. The authenticator shows another code every 30 seconds; each is good once.")


class SecondFactorNeeded(Problem):
    """Somebody without an authenticator tries to decide."""

    code = "second_factor_needed"
    http_status = 403
    title = mark("Decisions need a code of your authenticator. Set up your second factor first.")
    advice = mark("Nothing was changed. The page “Second factor” in the menu of your name leads through it.")


class NotOpenAnyMore(Problem):
    """A request was approved, withdrawn or ended meanwhile."""

    code = "not_open_any_more"
    http_status = 409
    title = mark("This request is not open any more")
    advice = mark("Nothing was changed. Somebody has decided on it, or it has ended. Load the page again to see how.")


class EntryDamaged(Problem):
    """The stored bytes of a log entry are no envelope any more. Loud, because intake stores nothing but envelopes."""

    code = "entry_damaged"
    http_status = 500
    title = mark("A stored log entry is damaged")
    advice = mark("Its bytes are no longer what was received. Change nothing; tell the administrator and the auditor.")


class InternalFault(Problem):
    """A fault of ours. The operational log has the details; the answer has none."""

    code = "internal_error"
    http_status = 500
    title = mark("Something went wrong here")
    advice = mark("No stored evidence is affected. Try again; if it stays, tell the administrator the code below.")


class Busy(Problem):
    """The database is locked or away."""

    code = "busy"
    http_status = 503
    title = mark("The system is busy")
    advice = mark("The database cannot answer right now. Nothing was lost. Try again in a moment.")
    retry_after_seconds = 5


class ReadOnly(Problem):
    """The log is behind what others hold of it: nothing may be appended until it is refilled; or nobody gave keys."""

    code = "log_read_only"
    http_status = 503
    title = mark("The hub is read-only")
    advice = mark(
        "Its log is being refilled after a restore. Nothing was lost or changed. Try again when it is complete."
    )
    retry_after_seconds = 60
