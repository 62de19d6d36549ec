"""prefect.yaml and automations: everything that is wrong is said, with the cure, before anything is sent."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import SettingsError, Unreachable

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, to_toml: Callable[..., str]) -> Path:
    """A folder with the repository's prefect.yaml and automations, and settings for two billers."""
    shutil.copy(ROOT / "prefect.yaml", tmp_path)
    shutil.copytree(ROOT / "automations", tmp_path / "automations")
    acme = {
        "product": "spectrum", "biller_guid": "11111111-2222-3333-4444-555555555555", "bid": "1234",
        "web_service_key": "env:KEY", "base_url": "http://127.0.0.1:9/", "time_zone": "America/Chicago",
    }  # fmt: skip
    billers = {"acme": acme, "zenith-mutual": {**acme, "time_zone": "America/Denver"}}
    (tmp_path / "icflows.toml").write_text(to_toml({"billers": billers}), "utf-8")
    return tmp_path


def check(project: Path) -> Any:
    from ops.deploy import check as checked

    return checked(project / "icflows.toml", project / "prefect.yaml")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def test_the_repository_is_right() -> None:
    from ops.deploy import check as checked

    _, planned, automations = checked(ROOT / "icflows.toml", ROOT / "prefect.yaml")
    names = {made.full_name for made in planned}
    assert {"pull-feed/payments-acme", "reconcile/reconcile-acme", "publish-snapshot/snapshot-acme"} <= names
    assert {"publish-invoices/invoices-acme", "send-alerts/send-alerts"} <= names
    assert len(automations) == len(list((ROOT / "automations").glob("*.yaml"))) >= 7


def test_schedules_are_those_that_were_agreed() -> None:
    from ops.deploy import check as checked

    _, planned, _ = checked(ROOT / "icflows.toml", ROOT / "prefect.yaml")
    by_name = {made.written.name: made.written for made in planned}
    hours = {
        name: by_name[f"{name}-acme"].schedules[0].cron.split()[1]
        for name in ("payments", "settlements", "ach-rejects")
    }
    assert hours == {"payments": "*/2", "settlements": "*/4", "ach-rejects": "*/3"}
    for name, written in by_name.items():
        for schedule in written.schedules:
            assert schedule.timezone == (
                "UTC" if "/" in schedule.cron or name.startswith("invoices") else "America/Chicago"
            )
    assert by_name["invoices-acme"].schedules[0].active is None
    assert by_name["invoices-acme"].schedules[0].cron == "50 * * * *"
    for name in ("payments", "settlements", "ach-rejects", "autopay", "paperless"):
        limit = by_name[f"{name}-acme"].concurrency_limit
        assert (limit.limit, limit.collision_strategy) == (1, "CANCEL_NEW")


def test_a_biller_with_a_drop_folder_has_it_looked_into(project: Path) -> None:
    edit(project / "icflows.toml", '"bid" = "1234"', '"bid" = "1234"\n"drop_folder" = "drop"')
    _, planned, _ = check(project)
    files = [made.written for made in planned if made.written.name.startswith("files-")]
    assert [(made.name, made.schedules[0].cron) for made in files] == [("files-acme", "*/5 * * * *")]


def test_each_biller_gets_its_own_deployments(project: Path) -> None:
    _, planned, _ = check(project)
    by_name = {made.written.name: made.written for made in planned}
    other = by_name["reconcile-zenith-mutual"]
    assert len(planned) == 2 * 8 + 1
    assert not [name for name in by_name if name.startswith("files-")]  # neither has a drop folder
    assert other.parameters == {"biller": "zenith-mutual", "settings_file": str(project / "icflows.toml")}
    assert other.tags == ["icflows", "zenith-mutual"]
    assert other.schedules[0].timezone == "America/Denver"
    assert "icflows.biller.zenith-mutual.feed.payments" in other.triggers[0].match["prefect.resource.id"]
    assert other.triggers[0].name == "icflows reconcile-zenith-mutual after a pull or a file"
    assert by_name["payments-zenith-mutual"].schedules[0].timezone == "UTC"
    assert by_name["payments-acme"].parameters["feed"] == "payments"
    assert not [
        made for made in planned if "acme" in str(made.written) and "zenith" in str(made.written.parameters)
    ]


WRONG = {
    "misspelled key": ("concurrency_limit: *one_pull", "concurency_limit: *one_pull", "did you mean 'concurrency_limit'"),
    "misspelled in a schedule": ('cron: "0 */2 * * *", timezone', 'cron: "0 */2 * * *", timezon', "did you mean 'timezone'"),
    "unknown in a schedule": ("{slug: every-2-hours,", "{slug: every-2-hours, jitter: 4,", "unknown key 'schedules.0.jitter'"),
    "misspelled at the top": ("deployments:", "deployment:", "did you mean 'deployments'"),
    "misspelled in a pool": ("work_queue_name: default", "work_queue: default", "did you mean 'work_queue_name'"),
    "misspelled in a limit": ("collision_strategy: CANCEL_NEW", "collision: CANCEL_NEW", "did you mean 'collision_strategy'"),
    "unknown strategy": ("collision_strategy: CANCEL_NEW", "collision_strategy: CANCEL", "'CANCEL_NEW' or 'ENQUEUE'"),
    "misspelled in a trigger": ("expect: [icflows.rec", "expects: [icflows.rec", "did you mean 'expect'"),
    "cron": ("0 */2 * * *", "0 */2 * *", "no cron line of five fields"),
    "cron value": ("0 */2 * * *", "0 25 * * *", "no cron line of five fields"),
    "zone": ("timezone: UTC", "timezone: Mars/Olympus", "no IANA time zone"),
    "hour of the clock change": ('cron: "30 5 * * *"', 'cron: "30 2 * * *"', "jumps or doubles when the clocks change"),
    "sub-daily in a zone": ('cron: "30 5 * * *"', 'cron: "30 */4 * * *"', "jumps or doubles when the clocks change"),
    "entrypoint": ("flows.reconcile.reconcile", "flows.reconcile.reconcil", "cannot be imported"),
    "entrypoint module": ("flows.reconcile.reconcile", "flows.reconciling.reconcile", "No module named"),
    "no flow": ("flows.reconcile.reconcile", "flows.reconcile.compare", "is no flow"),
    "file path": ("flows.reconcile.reconcile", "flows/reconcile.py:reconcile", "entrypoint: String should match pattern"),
    "parameter": ("feed: payments}", "feeds: payments}", "has no parameter 'feeds'; did you mean 'feed'?"),
    "feed": ("feed: payments}", "feed: payment}", "there is no feed 'payment'"),
    "no pool": ("    work_pool: *pool\n    concurrency_limit: *one_pull\n", "    concurrency_limit: *one_pull\n", "work_pool: Field required"),
    "tag": ("tags: [icflows, acme]", "tags: [acme]", "tags must hold 'icflows'"),
    "doubled name": ("name: settlements-acme", "name: payments-acme", "two deployments are called 'payments-acme'"),
    "doubled key": ("    name: payments-acme\n", "    name: payments-acme\n    name: payments\n", "the key 'name' is written twice"),
    "a pull step": ("pull: [] ", "pull: [git_clone] ", "pull: List should have at most 0 items"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_in_prefect_yaml_is_said(project: Path, old: str, new: str, said: str) -> None:
    edit(project / "prefect.yaml", old, new)
    with pytest.raises(SettingsError) as caught:
        check(project)
    assert said in str(caught.value)


WRONG_AUTOMATIONS = {
    "misspelled key": ("failed-check.yaml", "actions:", "action:", "did you mean 'actions'"),
    "misspelled in the trigger": ("failed-check.yaml", "expect:", "expects:", "did you mean 'expect'"),
    "misspelled in an action": ("zombie-run.yaml", "state: CRASHED", "stat: CRASHED", "did you mean 'state'"),
    "unknown action": ("zombie-run.yaml", "change-flow-run-state", "change-state", "does not match any of the expected tags"),
    "unknown deployment": ("failed-check.yaml", "send-alerts/send-alerts", "send-alerts/send-alert", "did you mean 'send-alerts/send-alerts'"),
    "unknown parameter": ("failed-check.yaml", "{biller:", "{billers:", "has no parameter 'billers'; did you mean 'biller'"),
    "doubled name": ("failed-check.yaml", "icflows a check failed", "icflows a poll failed", "two automations are called"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("file", "old", "new", "said"), WRONG_AUTOMATIONS.values(), ids=WRONG_AUTOMATIONS.keys()
)
def test_what_is_wrong_in_an_automation_is_said(
    project: Path, file: str, old: str, new: str, said: str
) -> None:
    edit(project / "automations" / file, old, new)
    with pytest.raises(SettingsError) as caught:
        check(project)
    assert said in str(caught.value)


def test_everything_wrong_is_said_at_once(project: Path) -> None:
    edit(project / "prefect.yaml", "feed: payments}", "feeds: payments}")
    edit(project / "prefect.yaml", "flows.reconcile.reconcile", "flows.reconcile.reconcil")
    with pytest.raises(SettingsError) as caught:
        check(project)
    assert "deployment 'payments-acme'" in str(caught.value)
    assert "deployment 'reconcile-acme'" in str(caught.value)


def test_nothing_is_sent_when_the_file_is_wrong_or_nobody_answers(
    project: Path, monkeypatch: pytest.MonkeyPatch, closed_port: Callable[[], int]
) -> None:
    from ops.deploy import deploy

    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{closed_port()}/api")
    with pytest.raises(Unreachable, match="no Prefect server answers"):
        deploy(project / "icflows.toml", project / "prefect.yaml")
    edit(project / "prefect.yaml", "feed: payments}", "feeds: payments}")
    with pytest.raises(SettingsError, match="has no parameter 'feeds'"):
        deploy(project / "icflows.toml", project / "prefect.yaml")


def test_a_missing_file_is_named(project: Path) -> None:
    (project / "prefect.yaml").unlink()
    with pytest.raises(SettingsError, match=r"there is no file .*prefect\.yaml"):
        check(project)
