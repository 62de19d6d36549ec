"""The demo: a made-up carrier, two moments of its life, and the answer sheet at the end.

Evening one (three days before the close): all feeds are pulled, a few rows are spoilt on the wire; the bank's
statement and the portal's exports are loaded; all open bills and their images go out; old days are signed off.
In between invoices are reissued and cancelled, and one upload's answer is lost.
The Data Pump was switched on before that: payments are pushed, some twice, some never; balances are asked for.
The close: a feed is down, another one lies, a third has another layout; what was planted must be found.
Sandbox, SOAP, DuckDB and Prefect are the real parts; only time is given by hand.
"""

from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from cli.demo_answers import compare_answers
from cli.demo_days import CLOSE, FAULTS, OPENING, Day, play_days
from cli.demo_screen import screen
from cli.demo_service import KEY_VARIABLE, callers
from cli.progress import step
from cli.show import OK, WRONG, emit_json, say
from sandbox import Sandbox
from sandbox.carrier import Carrier, generate
from sandbox.carrier.plants import ALL_PLANT
from tasks.settings import load_settings

_KEY_VARIABLE, _SFTP_VARIABLE = "ICFLOWS_DEMO_KEY", "ICFLOWS_DEMO_SFTP_PASSWORD"
_ALL_IMAGES = 1_000_000
# B27 needs somebody who asks for balances, B39 (a shifted clock) disturbs every other class.
_PLANT = ALL_PLANT | {"B27": 2}


def play(folder: Path, accounts: int, days: int, seed: int, as_json: bool) -> int:
    """Runs the demo; 0 if every planted break was found and nothing besides."""
    started = time.monotonic()
    folder = folder.resolve()
    if folder.exists() and not (folder / "icflows.toml").exists() and any(folder.iterdir()):
        say(f"{folder} is not empty and no earlier demo; name another --folder")
        return WRONG
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ[_KEY_VARIABLE], os.environ[_SFTP_VARIABLE] = "sandbox-key", "sandbox-password"
    with ExitStack() as stack:
        carrier = _prepare(stack, folder, accounts, days, seed)
        sandbox = stack.enter_context(
            Sandbox(carrier.folder, now=CLOSE, state=folder / "sandbox", empty=True)
        )
        day = Day(folder, _write_settings(folder, sandbox, days))
        ic = stack.enter_context(callers(day.settings_file, carrier, OPENING))
        play_days(day, carrier, sandbox, ic)
        hooks = sandbox.hooks()
    answers = compare_answers(load_settings(day.settings_file), carrier.truth())
    seconds = time.monotonic() - started
    if as_json:
        emit_json({"seconds": round(seconds, 1), "answers": answers, "alerts": hooks, **day.__dict__})
    else:
        screen(day, answers, hooks, seconds)
    return OK if answers["missed"] == [] and answers["besides"] == [] else WRONG


def _prepare(stack: ExitStack, folder: Path, accounts: int, days: int, seed: int) -> Carrier:
    """Starts the Prefect server while the carrier is made."""
    from ops.prefect_env import use_server
    from ops.up import server

    with ThreadPoolExecutor(1) as beside:
        making = beside.submit(
            generate,
            seed,
            accounts,
            days,
            CLOSE,
            folder / "carrier",
            feed_faults=FAULTS,
            images=_ALL_IMAGES,
            plant=_PLANT,
        )
        with step(f"a carrier of {accounts:,} accounts and {days} days, and a Prefect server, are made"):
            url = stack.enter_context(server(home=folder / "prefect"))
            carrier = making.result()
    use_server(url, folder / "prefect")
    os.environ["ICFLOWS_ENGINE"] = "prefect"
    return carrier


def _write_settings(folder: Path, sandbox: Sandbox, days: int) -> Path:
    file = folder / "icflows.toml"
    file.write_text(
        f'''# Written by the demo. The sandbox that it names is gone when the demo is over.
[alerts]
urls = ["json://{sandbox.host}:{sandbox.port}/_sandbox/hook"]

[billers.acme]
product = "spectrum"
biller_guid = "11111111-2222-3333-4444-555555555555"
bid = "1234"
web_service_key = "env:{_KEY_VARIABLE}"
base_url = "{sandbox.url}"
time_zone = "America/Chicago"
invoice_format_guid = "99999999-8888-7777-6666-555555555555"

[billers.acme.outbound]
images = "from-imt/images"

[billers.acme.inbound]
keys = ["env:{KEY_VARIABLE}"]
handover = "to-imt"
pump_since = "{OPENING:%Y-%m-%dT%H:%M:%SZ}"

[billers.acme.sftp]
host = "{sandbox.host}"
port = {sandbox.sftp_port}
username = "sandbox"
password = "env:{_SFTP_VARIABLE}"
host_key = "{sandbox.host_key_line}"

[billers.acme.transport]
retry_seconds = 0.2
pause_seconds = 0

[billers.acme.feeds]
payments.initial = "{days + 5}d"
settlements.initial = "{days + 5}d"
ach_rejects.initial = "{days + 5}d"
''',
        encoding="utf-8",
    )
    return file
