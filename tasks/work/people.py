"""A person's word on a break: assign, note, resolve, accept, sign, reopen. Always by name, never unsaid."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from typing import Any

from tasks.errors import SettingsError, Stop
from tasks.pull import staging_of
from tasks.settings import Settings
from tasks.staging import work
from tasks.staging.polls import record_load
from tasks.staging.query import Connection
from tasks.work.catching_up import catch_up
from tasks.work.kept import kept_of
from tasks.work.model import ACTIONS, DECIDED, PROGRAM, STATES

LONGEST_NAME, LONGEST_NOTE = 100, 1000
_SHORTEST_END = 4
_NEEDS_NOTE = ("noted", "resolved", "accepted", "reopened")
# Default-ignorable code points that Python counts as printable letters or marks: joiners, fillers, variation selectors.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
Row = dict[str, Any]


def say(
    settings: Settings,
    biller: str,
    text: str,
    action: str,
    by: str,
    at: datetime,
    *,
    note: str = "",
    owner: str = "",
) -> Row:
    """Keeps what `by` says of the break whose id is `text` or ends in it; returns where it stands afterwards.

    `action` is one of tasks.work.model.ACTIONS; `owner` belongs to assigned, a note to all but assigned and
    signed. Raises Stop: unknown break, not allowed in its state, signed by whoever decided it.
    """
    if at.tzinfo is None:
        raise SettingsError("a word on a break needs a time with a zone, for example 2026-10-30T23:00:00Z")
    by, owner = named(by), named(owner, "--to 'First Last'") if action == "assigned" else ""
    note = noted(note, needed=action in _NEEDS_NOTE)
    staging, kept = staging_of(settings, biller), kept_of(settings, biller)
    with staging.exclusively():
        catch_up(staging, kept)
        with staging.open() as connection:
            found = one_break(connection, biller, text)
            before = work.current(connection, found["break_id"])
            event = _event(connection, found, before, action, by, at.astimezone(UTC))
        event |= {"note": note or None, "owner": owner or event["owner"]}
        load_id = f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{event['break_id']}-{event['said']}"
        with staging.transaction(load_id) as connection:
            word = work.add_event(
                connection, {name: value for name, value in event.items() if name != "said"}
            )
            record_load(connection, load_id, "work", at)
            kept.note_words([word])  # in the archive before it counts: a kill from here on loses nothing
    return standing(found, event)


def _event(connection: Connection, found: Row, before: Row | None, action: str, by: str, at: datetime) -> Row:
    state, version = (before["state"], before["version"]) if before else (STATES[0], 1)
    allowed, after = ACTIONS[action]
    if state not in allowed:
        raise Stop(f"{found['break_id']} is {_words(state)}: {_cure(state)}", reason="not_in_this_state")
    if before and before["at"] > at:
        raise Stop(
            f"{found['break_id']}: the last word on it is as of {before['at']:%Y-%m-%dT%H:%M:%SZ}; "
            f"nothing can be said as of an earlier moment",
            reason="as_of_before_last_word",
        )
    if action == "signed":
        _other_eyes(connection, found["break_id"], version, by)
    version += action == "reopened" and state == "signed_off"
    said = len(work.history(connection, found["break_id"])[1]) + 1
    return {
        "break_id": found["break_id"], "version": version, "at": at, "run_id": None, "action": action, "by": by,
        "owner": before["owner"] if before else None, "state": after or state, "amount": found["amount"], "said": said,
    }  # fmt: skip


def _other_eyes(connection: Connection, break_id: str, version: int, by: str) -> None:
    decided = work.decided_by(connection, break_id, version)
    if decided is not None and same_person(decided, by):
        raise Stop(
            f"{break_id} was decided by {decided}: another person signs it off (four eyes)",
            reason="four_eyes",
        )


def standing(found: Row, event: Row | None) -> Row:
    """Where a break stands, for people and programs; `found` is the program's own state: open or closed."""
    names = ("break_id", "code", "name", "severity", "amount", "sentence")
    last = event or {"state": STATES[0], "version": 1}
    return {name: found[name] for name in names} | {
        "found": found["state"], "work_state": last["state"], "version": last["version"],
        **{name: last.get(name) for name in ("owner", "action", "by", "at", "note")},
    }  # fmt: skip


def show(settings: Settings, biller: str, text: str) -> Row:
    """One break: its line of recon.breaks, where the work stands, and what the program and people said of it."""
    with staging_of(settings, biller).open() as connection:
        found = one_break(connection, biller, text)
        program, people = work.history(connection, found["break_id"])
        return {
            "break": found, "work": standing(found, people[-1] if people else None), "program": program,
            "people": people,
        }  # fmt: skip


def one_break(connection: Connection, biller: str, text: str) -> Row:
    """The break with this id, or the only one whose id ends in it. Raises Stop with the nearest ids."""
    text = text.strip().lower()
    found = work.find(connection, text) if len(text) >= _SHORTEST_END else []
    if len(found) == 1:
        return found[0]
    told = text[:40] if text.isprintable() else "(unprintable)"
    if found:
        ids = ", ".join(row["break_id"] for row in found[:5])
        raise Stop(f"{biller}: {len(found)} breaks end in '{told}': {ids}", reason="not_one_break")
    if len(text) < _SHORTEST_END:
        raise Stop(
            f"{biller}: give at least {_SHORTEST_END} characters of a break's id", reason="no_such_break"
        )
    nearest = ", ".join(work.near(connection, text[:40]))
    hint = f"; nearest: {nearest}" if nearest else "; none was ever found"
    raise Stop(f"{biller}: there is no break '{told}'{hint}", reason="no_such_break")


def named(name: str, option: str = "--by 'First Last'") -> str:
    """A person's name, blanks at its ends cut. Raises Stop if it is none."""
    name = unicodedata.normalize("NFC", name).strip()
    if not _folded(name) or len(name) > LONGEST_NAME or not name.isprintable():
        raise Stop(
            f"the work on a break bears a name of at most {LONGEST_NAME} printable characters: {option}",
            reason="no_name",
        )
    if same_person(name, PROGRAM):
        raise Stop(f"'{PROGRAM}' is the program, no person: {option}", reason="no_name")
    return name


def noted(note: str, *, needed: bool) -> str:
    """A note, blanks at its ends cut. Raises Stop if it is missing, too long, or holds control characters."""
    note = note.strip()
    if needed and not note:
        raise Stop("say why: --note TEXT", reason="no_note")
    if len(note) > LONGEST_NOTE or not note.isprintable():
        raise Stop(f"a note is one line of at most {LONGEST_NOTE} printable characters", reason="bad_note")
    return note


def same_person(one: str, other: str) -> bool:
    """True if two names differ in nothing but case, blanks, the form of their letters, and signs that nobody sees.

    Letters of another script that look alike (a Cyrillic A) are other letters, and names are what was typed: there is
    no login behind them.
    """
    return _folded(one) == _folded(other)


def _folded(name: str) -> str:
    """Unicode's NFKC_Casefold (case, forms, default-ignorable signs), and one blank for many."""
    for _ in range(2):  # folding the case may give letters that have a shorter form, and the other way round
        name = unicodedata.normalize("NFKC", name).casefold()
    return " ".join(_UNSEEN.sub("", name).split())


def _words(state: str) -> str:
    return state.replace("_", " ")


def _cure(state: str) -> str:
    if state in DECIDED:
        return "another person signs it off, or it is reopened first"
    return "reopen it first" if state == "signed_off" else "it is resolved or accepted first"
