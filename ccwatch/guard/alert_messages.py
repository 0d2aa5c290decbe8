"""Messages to people: one sentence and one documented JSON body each. It knows no receiver and no file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from ccwatch.alerts import reading
from ccwatch.domain.durations import duration_text
from ccwatch.guard.notices import Notice

VERSION: Final = 1
"""Version of the JSON body; raised when a reader of an older one would be misled."""
_WORDS: Final = {
    "firing": "fires",
    "worse": "has become worse",
    "resolved": "is over",
    "repeat": "still fires, and is not acknowledged",
    "escalation": "fires, and is not acknowledged",
}


def sentence(notice: Notice, zone: Any = UTC) -> str:
    """Return one sentence on an alert: the rule that fires, how bad it is, since when."""
    alert = notice.alert
    about = f" ({alert.subject})" if alert.subject else ""
    word = _WORDS[notice.kind]
    value = reading(alert.worst if notice.kind == "resolved" else alert.value, alert.unit)
    said = f", {'at worst ' if notice.kind == 'resolved' else 'now '}{value}" if value else ""
    lasted = ""
    if notice.kind == "resolved" and alert.resolved_ns is not None:
        lasted = f" after {duration_text((alert.resolved_ns - alert.fired_ns) / 1e9)}"
    also = f"; also {', '.join(other.name for other in notice.also)}" if notice.also else ""
    since = f"{alert.fired.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"
    return f"{str(alert.severity).upper()}: {alert.rule}{about} {word}{lasted}: {alert.meaning}{said}, since {since}{also}."


def body_of(
    notice: Notice,
    *,
    stream: str,
    is_synthetic: bool,
    certificate: str,
    explain: Sequence[str] = (),
    page: str = "",
    remarks: Sequence[str] = (),
    zone: Any = UTC,
) -> dict[str, Any]:
    """Return a message's JSON body, as json:// receivers get it; the guide describes each field.

    Args:
        notice: the notice that the message is about.
        stream: the stream's url, without secrets.
        is_synthetic: whether the stream is made up.
        certificate: the result of trying its rule on recordings, or "never tested".
        explain: up to five lines of evidence.
        page: path or URL of the incident page.
        remarks: limits of the message, such as "peak known only since 09:38".
        zone: the time zone of the times in the text.
    """
    alert = notice.alert
    text = sentence(notice, zone)
    origin = "SYNTHETIC STREAM. " if is_synthetic else ""
    lines = [
        f"{origin}{text}",
        *remarks,
        f"id {alert.id} · rule {certificate}",
        *([f"runbook: {alert.runbook}"] if alert.runbook else []),
        *list(explain)[:5],
        *([f"incident: {page}"] if page else []),
    ]
    return {
        "version": VERSION,
        "kind": notice.kind,
        "title": f"ccwatch {alert.severity}: {notice.group}",
        "text": "\n".join(lines),
        "sentence": text,
        "severity": str(alert.severity),
        "group": notice.group,
        "id": alert.id,
        "rule": alert.rule,
        "subject": alert.subject,
        "state": "resolved" if notice.kind == "resolved" else "firing",
        "alerts": [alert.to_dict(), *(other.to_dict() for other in notice.also)],
        "certificate": certificate,
        "runbook": alert.runbook or None,
        "explain": list(explain)[:5],
        "page": page or None,
        "remarks": list(remarks),
        "stream": stream,
        "synthetic": is_synthetic,
        "happened": alert.fired.isoformat(),
        "made": datetime.now(UTC).isoformat(),
    }


def plain_body(
    kind: str, title: str, text: str, *, stream: str, severity: str = "info", more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the body of a message that is no alert: "test", "day", "blind" or "digest"."""
    facts = {"version": VERSION, "kind": kind, "title": title, "text": text, "sentence": text.splitlines()[0], "severity": severity}
    return {**facts, "stream": stream, "made": datetime.now(UTC).isoformat(), **(more or {})}
