"""The options of a guard, as one frozen value. It reads no file; see `guard_settings`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GuardOptions:
    """The options of a guard.

    Attributes:
        notify: names of the receivers of messages.
        escalate_to: names of the receivers of escalations; empty is those of `notify`.
        repeat_s: seconds after which an alert that was not acknowledged is reported again.
        escalate_s: seconds after which a critical alert that was not acknowledged is escalated.
        heartbeat: where the sign of life goes while the guard sees: a file, a json:// address or a receiver's name; empty is none.
        heartbeat_s: seconds from one beat to the next.
        digest_at: local time of day of the digest, "16:05"; empty is none.
        digest_to: who gets the digest; empty is the first of `notify`.
        link_base: the URL that links to incident pages begin with; empty links by path.
        drop: columns that incident pages leave out, such as nav.
    """

    notify: tuple[str, ...] = ()
    escalate_to: tuple[str, ...] = ()
    repeat_s: float = 4 * 3600.0
    escalate_s: float = 600.0
    heartbeat: str = ""
    heartbeat_s: float = 30.0
    digest_at: str = ""
    digest_to: str = ""
    link_base: str = ""
    drop: tuple[str, ...] = ()
