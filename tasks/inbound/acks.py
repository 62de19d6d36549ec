"""IMT's answers to the files it was handed: what agrees to the cent is acknowledged, all else is refused and told.

<handover>/acks/<file>.ack.json: {"sequence": 7, "rows": 120, "amount": "3456.78", "status": "taken"}, and if IMT
likes "sha256" and "message"; status "refused" when IMT could not take the file. IMT renames it into place.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Connection, update

from tasks.archive import safe_text, translated_os_errors
from tasks.inbound.handover_lines import Handover, alone, handover_lines, money_text, updated
from tasks.inbound.store import Store, open_store
from tasks.inbound.tables import enrolment_pushes, handovers, pushes
from tasks.inbound.values import microseconds
from tasks.reading import MONEY
from tasks.settings import Settings

_MOST_BYTES = 65_536
_MOST = 2**62  # what the store's numbers hold


class Ack(BaseModel):
    """What IMT says of one file; other keys are passed over."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")
    sequence: int = Field(ge=0, le=_MOST)
    rows: int = Field(ge=0, le=_MOST)
    amount: str
    status: Literal["taken", "refused"]
    sha256: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class AckResult:
    """Names of files acknowledged and refused now; answers that name no file of ours, or cannot be read (they stay)."""

    acknowledged: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)


def read_acks(settings: Settings, biller: str, at: datetime) -> AckResult:
    """Reads every answer that lies there. Reading one twice changes nothing. Raises StorageTrouble, StagingBusy."""
    inbound = settings.biller(biller).inbound
    result = AckResult()
    if inbound is None or inbound.handover is None:
        return result
    with translated_os_errors("handover folder"):
        answers = sorted((inbound.handover / "acks").glob("*.ack.json"))
    if not answers:
        return result
    with alone(settings, biller), closing(open_store(settings)) as store:
        for path in answers:
            ack = _read(path)
            with store.reading() as connection:
                lines = (
                    handover_lines(connection, biller, handovers.c.sequence == ack.sequence) if ack else []
                )
            if ack is None or not lines:
                result.strange.append(path.name)
                continue
            refusal = _refusal(ack, lines[0])
            _note(store, biller, lines[0], refusal, microseconds(at))
            (result.refused if refusal else result.acknowledged).append(lines[0].file_name)
            _put_away(inbound.handover, path, None if refusal else lines[0])
    return result


def _read(path: Path) -> Ack | None:
    """None: being written, or no answer. Money is exact: a number with a point is read by its digits."""
    with translated_os_errors("handover folder"):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return None
        text = path.read_bytes()
    try:
        content = json.loads(text, parse_float=str)
        if isinstance(content, dict) and type(content.get("amount")) is int:
            content["amount"] = str(content["amount"])
        return Ack.model_validate(content)
    except (ValueError, RecursionError, ValidationError):
        return None


def _refusal(ack: Ack, line: Handover) -> str | None:
    """Why the file does not count as taken; None if it does."""
    if ack.status == "refused":
        return f"IMT refused it: {safe_text(ack.message or 'no reason given')}"
    amount = Decimal(ack.amount) if re.fullmatch(MONEY, ack.amount) else None
    differ = {
        "rows": ack.rows != line.rows,
        "amount": amount != Decimal(money_text(line.amount)),
        "sha256": ack.sha256 is not None and ack.sha256.lower() != line.sha256,
    }
    names = [name for name, differs in differ.items() if differs]
    return f"IMT took something else: {', '.join(names)} differ from the control file" if names else None


def _note(store: Store, biller: str, line: Handover, refusal: str | None, at: int) -> None:
    """An answer to what is acknowledged already is no news, unless IMT takes it back."""
    if refusal is None and line.acknowledged_at is not None and line.refused_at is None:
        return
    with store.writing("pushes") as connection:
        change: dict[str, Any] = {"refused_at": line.refused_at or at, "message": refusal}
        if refusal is None:
            change = {"acknowledged_at": line.acknowledged_at or at, "refused_at": None, "message": None}
        connection.execute(updated(biller, line.sequence).values(change))
        if refusal is None and line.acknowledged_at is None:
            _acknowledge(connection, biller, line, at)


def _acknowledge(connection: Connection, biller: str, line: Handover, at: int) -> None:
    table = pushes if line.kind == "postings" else enrolment_pushes
    connection.execute(
        update(table)
        .where(table.c.biller == biller, table.c.handover_sequence == line.sequence)
        .values(acknowledged_at=at, revision=table.c.revision + 1)
    )


def _put_away(folder: Path, ack: Path, line: Handover | None) -> None:
    """The answer goes last: as long as it lies there, the rest is still to be put away."""
    with translated_os_errors("handover folder"):
        (folder / "done").mkdir(exist_ok=True)
        files = [folder / line.file_name, folder / line.control_name] if line else []
        for path in [*files, ack]:
            try:
                os.replace(path, folder / "done" / path.name)
            except FileNotFoundError:
                continue  # IMT took it away itself
