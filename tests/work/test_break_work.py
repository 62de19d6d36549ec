"""People's work on breaks: who may say what in which state, four eyes, versions, and runs that open it again."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import SettingsError, Stop
from tasks.reconciling import run_reconcile
from tasks.replay import replay
from tasks.staging.publish import VIEWS
from tasks.work.model import ACTIONS, STATES
from tasks.work.people import same_person, say, show

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
AMOUNT = "UPDATE imt.postings_versions SET amount = amount + 1 WHERE is_current AND payment_guid = '{}'"
BACK = "UPDATE imt.postings_versions SET amount = {} WHERE is_current AND payment_guid = '{}'"


def test_from_open_to_signed_off_and_every_word_is_kept(desk: Any) -> None:
    found = desk.one("B05")
    which = found["break_id"]
    assert desk.say(which, "assigned", "Bo Lee", 1)["work_state"] == "in_work"
    assert desk.say(which, "noted", "Cy Roe", 2, note="asked the bank")["work_state"] == "in_work"
    assert desk.say(which, "resolved", "Cy Roe", 3, note="posted again")["work_state"] == "resolved"
    after = desk.say(which, "signed", "Ann Ode", 4)
    assert (after["work_state"], after["owner"], after["version"], after["found"]) == (
        "signed_off",
        "Cy Roe",
        1,
        "open",
    )
    kept = desk.events(which)
    assert [(row["sequence"], row["action"], row["by"], row["note"]) for row in kept] == [
        (1, "assigned", "Bo Lee", None), (2, "noted", "Cy Roe", "asked the bank"),
        (3, "resolved", "Cy Roe", "posted again"), (4, "signed", "Ann Ode", None),
    ]  # fmt: skip
    assert {row["amount"] for row in kept} == {found["amount"]}
    assert {row["run_id"] for row in kept} == {None}
    assert [row["at"] for row in kept] == [CLOSE + timedelta(hours=hour) for hour in (1, 2, 3, 4)]


def test_four_eyes_see_through_the_spelling_of_a_name(desk: Any) -> None:
    which = desk.one("B01")["break_id"]
    desk.say(which, "accepted", "Ann Ode")
    for name in ("Ann Ode", "ANN  ode", " Ann Ode ", "\uff21nn Ode", "Ann\u034f Ode\ufe0f", "\u3164Ann Ode"):
        with pytest.raises(Stop, match="another person signs it off") as stopped:
            desk.say(which, "signed", name)
        assert stopped.value.reason == "four_eyes"
    assert desk.say(which, "signed", "Bo Lee")["work_state"] == "signed_off"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Ann B", "ann  b", True),
        ("Jos\u00e9 Ma\u00dfen", "JOSE\u0301 MASSEN", True),
        ("\ufb01ona O\u017fe", "FIONA OSE", True),
        ("\uff21nn\u3000B", "ann b", True),
        ("Ann B", "AnnB", False),
        ("Ann B", "Anna B", False),
        ("Jos\u00e9 B", "Jose B", False),
    ],
)
def test_one_person_however_the_name_is_written(one: str, other: str, same: bool) -> None:
    assert same_person(one, other) is same_person(other, one) is same


def test_a_name_that_nobody_sees_is_none(desk: Any) -> None:
    with pytest.raises(Stop, match="bears a name"):
        desk.say(desk.one("B01")["break_id"], "noted", "\u3164\u034f")


def test_whoever_decided_last_is_the_one_who_may_not_sign(desk: Any) -> None:
    which = desk.one("B01")["break_id"]
    desk.say(which, "accepted", "Ann Ode")
    desk.say(which, "reopened", "Bo Lee")
    desk.say(which, "resolved", "Bo Lee")
    with pytest.raises(Stop, match="decided by Bo Lee"):
        desk.say(which, "signed", "Bo Lee")
    assert desk.say(which, "signed", "Ann Ode")["work_state"] == "signed_off"


def test_a_reopened_sign_off_is_a_new_version(desk: Any) -> None:
    which = desk.one("B01")["break_id"]
    for action, by in (("resolved", "Ann Ode"), ("signed", "Bo Lee"), ("reopened", "Bo Lee")):
        last = desk.say(which, action, by)
    assert (last["work_state"], last["version"]) == ("open", 2)
    desk.say(which, "resolved", "Bo Lee")
    assert desk.say(which, "signed", "Ann Ode")["version"] == 2
    assert [row["version"] for row in desk.events(which)] == [1, 1, 2, 2, 2]


def test_words_follow_the_rules_whatever_is_said(desk: Any) -> None:
    """Forty words at random against a model that knows the allowed moves alone."""
    which, dice = desk.one("B02")["break_id"], random.Random(11)
    state, version, decider, said = "open", 1, "", 0
    for _ in range(40):
        action, by = dice.choice(list(ACTIONS)), dice.choice(["Ann Ode", "Bo Lee"])
        allowed, after = ACTIONS[action]
        if state not in allowed or (action == "signed" and by == decider):
            with pytest.raises(Stop):
                desk.say(which, action, by)
            continue
        version += action == "reopened" and state == "signed_off"
        state, said = after or state, said + 1
        decider = by if action in ("resolved", "accepted") else decider
        kept = desk.say(which, action, by)
        assert (kept["work_state"], kept["version"]) == (state, version)
    assert len(desk.events(which)) == said > 10
    assert version > 1


WRONG_WORDS = (
    ({"by": ""}, "bears a name"),
    ({"by": "x" * 101}, "at most 100"),
    ({"by": "Ann\nOde"}, "printable"),
    ({"by": "Ann \u202eOde"}, "printable"),
    ({"by": "ICflows"}, "is the program"),
    ({"note": ""}, "say why"),
    ({"note": "n" * 1001}, "at most 1000"),
    ({"note": "a\x1b[31m"}, "printable"),
    ({"which": "ffffffffffffffff"}, "there is no break 'ffffffffffffffff'; nearest: "),
    ({"which": "zz"}, "at least 4 characters"),
    ({"which": "a\x00bcdef"}, "there is no break '\\(unprintable\\)'"),
)


def test_what_is_no_word_is_refused_and_nothing_kept(desk: Any) -> None:
    right = {"which": desk.one("B01")["break_id"], "action": "resolved", "by": "Ann Ode", "note": "why"}
    for wrong, told in WRONG_WORDS:
        with pytest.raises(Stop, match=told):
            desk.say(**right | wrong)
    assert desk.rows("SELECT * FROM recon.work_events") == []


def test_an_owner_is_a_person_too_and_a_time_has_a_zone(desk: Any) -> None:
    which = desk.one("B01")["break_id"]
    with pytest.raises(Stop, match="--to"):
        desk.say(which, "assigned", owner=" ")
    with pytest.raises(SettingsError, match="zone"):
        say(desk.settings, "acme", which, "noted", "Ann Ode", datetime(2026, 10, 31), note="x")
    desk.say(which, "noted", hour=5)
    with pytest.raises(Stop, match="earlier moment"):
        desk.say(which, "noted", hour=4)


def test_a_break_is_found_by_the_end_of_its_id(desk: Any) -> None:
    which = desk.one("B01")["break_id"]
    assert desk.say(which[-8:].upper(), "noted")["break_id"] == which
    desk.run(
        f"UPDATE recon.breaks SET break_id = 'aaaa{which[4:]}' WHERE code = 'B42' AND subject = (SELECT min(subject) FROM recon.breaks WHERE code = 'B42')"
    )
    with pytest.raises(Stop, match=f"2 breaks end in '{which[4:]}': "):
        desk.say(which[4:], "noted")
    assert desk.say(which, "noted")["break_id"] == which


def test_another_amount_opens_the_work_again(desk: Any) -> None:
    same, *others = (
        desk.one(code, number)
        for code, number in (("B03", 0), ("B05", 0), ("B05", 1), ("B05", 2), ("B03", 1))
    )
    said = dict(
        zip((row["break_id"] for row in others), ("resolved", "accepted", "signed", "assigned"), strict=True)
    )
    desk.say(same["break_id"], "accepted")
    for which, last in said.items():
        desk.say(which, "assigned")
        if last == "signed":
            desk.say(which, "resolved")
        if last != "assigned":
            desk.say(which, last, "Bo Lee")
    for row in others:
        desk.run(AMOUNT.format(row["payment_guid"]))
    run = run_reconcile(desk.settings, "acme", CLOSE + timedelta(hours=2), whole=True)
    assert run.changed == 4
    for row in others:
        told = show(desk.settings, "acme", row["break_id"])
        event, last = told["people"][-1], said[row["break_id"]]
        assert event["owner"] == "Cy Roe"
        if last == "assigned":  # undecided work stays with whoever has it
            assert event["action"] == "assigned"
            continue
        assert (event["action"], event["by"], event["run_id"], event["state"]) == (
            "reopened",
            "icflows",
            run.run_id,
            "open",
        )
        assert event["version"] == (2 if last == "signed" else 1)
        assert event["note"] == f"amount was {row['amount']}, is {told['break']['amount']}"
        assert event["amount"] == told["break"]["amount"] != row["amount"]
    assert [event["action"] for event in desk.events(same["break_id"])] == ["accepted"]


def test_what_comes_back_is_opened_again_once(desk: Any) -> None:
    found = desk.one("B05")
    which, guid = found["break_id"], found["payment_guid"]
    posted = desk.rows(f"SELECT amount FROM imt.postings WHERE payment_guid = '{guid}'")[0]["amount"]
    desk.say(which, "resolved", note="posting corrected")
    owed = f"(SELECT sum(payment_amount) FROM feed.payments WHERE payment_guid = '{guid}')"
    desk.run(BACK.format(owed, guid))
    run_reconcile(desk.settings, "acme", CLOSE + timedelta(hours=2), whole=True)
    assert [row["action"] for row in desk.events(which)] == ["resolved"]
    assert desk.rows(f"SELECT state FROM recon.breaks WHERE break_id = '{which}'") == [{"state": "closed"}]
    desk.run(BACK.format(posted, guid))
    for hour in (3, 3, 4):
        run_reconcile(desk.settings, "acme", CLOSE + timedelta(hours=hour), whole=True)
    kept = desk.events(which)
    assert [(row["action"], row["note"]) for row in kept] == [
        ("resolved", "posting corrected"),
        ("reopened", "found again"),
    ]
    assert kept[-1]["at"] == CLOSE + timedelta(hours=3)
    assert desk.say(which, "resolved", "Bo Lee", 4)["work_state"] == "resolved"


def test_a_replay_carries_the_work_over(desk: Any) -> None:
    which = desk.one("B01")["break_id"]
    desk.say(which, "accepted")
    before = desk.events(which)
    replay(desk.settings, "acme", CLOSE + timedelta(hours=2))
    assert desk.events(which) == before
    assert desk.say(which, "signed", "Bo Lee", 3)["work_state"] == "signed_off"


def test_no_statement_changes_or_removes_a_word() -> None:
    pattern = re.compile(r"(update|delete\s+from|truncate|drop\s+table)\s+\S*(work_events|periods)", re.I)
    sources = [
        p
        for name in ("cli", "flows", "ops", "tasks", "services")
        for p in (ROOT / name).rglob("*.*")
        if p.suffix in (".py", ".sql")
    ]
    assert len(sources) > 150
    assert [p for p in sources if pattern.search(p.read_text("utf-8"))] == []
    assert all(path.exists() for path in VIEWS)
    assert {state for _, state in ACTIONS.values() if state} | {"open"} == set(STATES)
