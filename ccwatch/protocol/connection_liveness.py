"""Signs that a connection is alive and that its server reads: when to ping, when to text, when to give up a silent peer.

Any arrival is a sign of life. Sending texts is another matter: a server that never reads stops answering pings once unread texts
pile up, and then closes the connection itself, since it does not read our pongs either. So texts go only to a server that has shown
that it reads, and never again to one that stops answering after a text.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from ccwatch.domain.limits import SECOND
from ccwatch.domain.liveness import Pace
from ccwatch.protocol.messages import ConnectionState, Instant

KEEPALIVE_NS: Final = 30 * SECOND
"""The contract's PING (8.1), which few servers answer."""
PING_NS: Final = 5 * SECOND
"""The interval of RFC 6455 pings, and the time to answer one once any pong was seen."""
GOING_AWAY_UNHEARD: Final = 1011
"""The close code of a server whose own pings were not answered: it has stopped reading our pongs."""
NEVER_SHOWN: Final = (
    "this server has not shown that it reads (no WELCOME, no Cottage's headers), and a text ends the connection of one that does not"
)


class Duty(Enum):
    """An action that the caller has to take now."""

    SEND_KEEPALIVE = "send the contract's PING"
    SEND_PING = "send a ping frame"
    ABORT = "give the connection up: a ping was not answered, and nothing else came"


class Liveness:
    """The signs of life of one feed's connections."""

    def __init__(self) -> None:
        self.pace = Pace()
        self.muted = ""
        """Why no text is sent to this server any more, for the feed's life; empty while texts are allowed."""
        self._reads = False
        self._texted = False  # on this connection
        self._life_ns: int | None = None  # of the last sign of life, or the opening of the connection
        self._keepalive_ns = self._ping_ns = 0
        self._pong_due_ns: int | None = None  # of the first ping that was not answered
        self._answers_pings = False
        self._unanswered = False  # packets came although a pong was overdue: then they alone are its life

    # ── events ──

    def opened(self, now: Instant, *, reads: bool) -> None:
        """Begin a connection; `reads` says that its handshake names a Cottage."""
        self._reads = reads
        self._texted = False
        self._life_ns = now.mono_ns
        self._keepalive_ns, self._ping_ns = now.mono_ns + KEEPALIVE_NS, now.mono_ns + PING_NS
        self._pong_due_ns = None
        self._unanswered = False

    def alive(self, now: Instant) -> None:
        """Take a sign of life: a packet, a heartbeat, an answer."""
        self._life_ns = now.mono_ns

    def showed_reading(self) -> None:
        """Take a sign that the server reads: a WELCOME, or an answer to a text."""
        self._reads = True

    def ponged(self) -> None:
        """Take the answer to a ping."""
        self._answers_pings = True
        self._unanswered = False
        self._pong_due_ns = None

    def texted(self) -> None:
        """Note that a text was sent."""
        self._texted = True

    def closed(self, code: int | None) -> str:
        """End a connection; return why no more texts are sent, if its close code has just shown that; else an empty text."""
        if code == GOING_AWAY_UNHEARD and self._texted and not self.muted:
            self.muted = f"the server closed the connection with {code} after a text: it does not read"
            return self.muted
        return ""

    # ── conclusions ──

    @property
    def no_text(self) -> str:
        """Return why no text may be sent to the server; empty if it may."""
        if self.muted:
            return self.muted
        return "" if self._reads else NEVER_SHOWN

    @property
    def life_ns(self) -> int | None:
        """Return when the last sign of life came, on the monotonic clock; None before the first connection."""
        return self._life_ns

    def age_ns(self, now: Instant) -> int:
        """Return the ns since the last sign of life, by the monotonic clock."""
        return 0 if self._life_ns is None else now.mono_ns - self._life_ns

    def state(self, now: Instant) -> ConnectionState:
        """Return the state of an open connection after the silence until now: OPEN, LATE or STALE."""
        age = self.age_ns(now)
        if age >= self.pace.stale_ns:
            return ConnectionState.STALE
        return ConnectionState.LATE if age >= self.pace.late_ns else ConnectionState.OPEN

    def muted_now(self, now: Instant) -> str:
        """Return, once, why no more texts are sent: two pings after a text went unanswered although packets came; else an empty text."""
        due, life = self._pong_due_ns, self._life_ns
        if due is None or life is None or life <= due:
            return ""
        self._unanswered = True
        if self.muted or not self._texted or now.mono_ns < due + PING_NS:
            return ""
        self.muted = "the server stopped answering pings after a text: it does not read"
        return self.muted

    def duties(self, now: Instant) -> list[Duty]:
        """Return what is due on an open connection now; a duty that is returned counts as done."""
        if self._pong_due_ns is not None and now.mono_ns >= self._gone_ns(self._pong_due_ns):
            return [Duty.ABORT]
        due = []
        if now.mono_ns >= self._keepalive_ns:
            self._keepalive_ns = now.mono_ns + KEEPALIVE_NS
            if not self.no_text:
                due.append(Duty.SEND_KEEPALIVE)
        if now.mono_ns >= self._ping_ns:
            self._ping_ns = now.mono_ns + PING_NS
            if self._answers_pings and self._pong_due_ns is None:
                self._pong_due_ns = now.mono_ns + PING_NS
            due.append(Duty.SEND_PING)
        return due

    def wait_ns(self, now: Instant, state: ConnectionState) -> int:
        """Return the ns until `state`, `muted_now` or `duties` may return something new; 0 if that is now."""
        moments = [self._keepalive_ns, self._ping_ns]
        if self._pong_due_ns is not None:
            moments.append(self._gone_ns(self._pong_due_ns))
        if self._life_ns is not None and state is ConnectionState.OPEN:
            moments.append(self._life_ns + self.pace.late_ns)
        if self._life_ns is not None and state is ConnectionState.LATE:
            moments.append(self._life_ns + self.pace.stale_ns)
        return max(0, min(moments) - now.mono_ns)

    def _gone_ns(self, due: int) -> int:
        """Return when a peer that owes a pong is gone, if nothing comes until then.

        A packet may still be on its way: where one came since the ping, or the usual interval is long, one more is waited for, at
        most the time of one more ping. Where packets came without the pong, or a text may be the reason for its absence, the
        stream has to be late.
        """
        life, usual = self._life_ns or 0, self.pace.usual_ns
        if self._texted or self._unanswered:
            return max(due, life + PING_NS, life + self.pace.late_ns)
        if life <= due - PING_NS:
            return max(due, min(life + usual * 3 // 2, due + PING_NS))
        return max(due, life + PING_NS, min(life + usual * 3 // 2, due + PING_NS) if usual else due + PING_NS)
