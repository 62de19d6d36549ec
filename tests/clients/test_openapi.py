"""schemathesis against the JSON side's own document: every status, content type and body is as it says, none is 500."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import schemathesis
from schemathesis import engine
from schemathesis.engine import events


def run(schema: Any, seed=7) -> tuple[Counter[str], Counter[int], list[str]]:
    checks, statuses, failures = Counter(), Counter(), []
    for event in engine.from_schema(schema).execute():
        if isinstance(event, (events.NonFatalError, events.FatalError)):
            failures.append(str(getattr(event, "value", None) or event.exception))
        if not isinstance(event, (events.ScenarioFinished, events.FuzzScenarioFinished)):
            continue
        rec = event.recorder
        for interaction in rec.interactions.values():
            if interaction.response is not None:
                statuses[f"{rec.label} {interaction.response.status_code}"] += 1
        for id, nodes in rec.checks.items():
            for node in nodes:
                checks[node.name] += 1
                if node.failure_info is not None:
                    f = node.failure_info.failure
                    failures.append(
                        f"{rec.label}: {node.name} {f.title} {f.message} {node.failure_info.code_sample}"
                    )
    return checks, statuses, failures


@pytest.mark.parametrize("biller", ["acme", "zeta"])
def test_all(served: Any, biller: str) -> None:
    headers = {"X-Service-Key": served.keys[biller]}
    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json", headers=headers)
    schema.config.update(headers=headers, workers=1, request_timeout=20)
    schema.config.generation.update(max_examples=20, deterministic=True, database="none")
    schema.config.phases.stateful.enabled = False
    import time

    t = time.time()
    checks, statuses, failures = run(schema)
    print(time.time() - t, checks, statuses, sep="\n")
    for f in failures[:40]:
        print(f[:500])
        print()
    print(len(failures), Counter(f[:90] for f in failures))
    assert not failures
