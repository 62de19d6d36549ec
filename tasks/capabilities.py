"""What the integration document asks for and what this build does of it: tasks/capabilities.toml, checked."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

FILE = Path(__file__).with_name("capabilities.toml")
PRODUCTS = ("mips-apps", "spectrum")
Does = Literal["works", "partly", "not supported", "not planned"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Claim(_Frozen):
    """What this build does for one product. `by`: commands ('icflows pull') and flows ('pull_feed')."""

    does: Does
    by: tuple[str, ...] = ()
    words: str = Field(min_length=1)

    @model_validator(mode="after")
    def _honest(self) -> Claim:
        done = self.does in ("works", "partly")
        if done != bool(self.by):
            raise ValueError("a claim names what does it (by) if, and only if, something does")
        if (self.does == "partly") != ("missing:" in self.words):
            raise ValueError("partly, and only partly, says what is missing: …")
        return self


class Capability(_Frozen):
    """One row of the document; `part` where the document's row holds several things."""

    feature: str
    part: str = ""
    current: str
    future: str
    conversion: str
    mips_apps: Claim = Field(alias="mips-apps")
    spectrum: Claim

    @property
    def name(self) -> str:
        """'Payment Data: validate posting'."""
        return f"{self.feature}: {self.part}" if self.part else self.feature

    def claims(self) -> dict[str, Claim]:
        """By product."""
        return {"mips-apps": self.mips_apps, "spectrum": self.spectrum}


class _Table(_Frozen):
    row: tuple[Capability, ...] = Field(min_length=1)


@cache
def capabilities() -> tuple[Capability, ...]:
    """The rows in the order of the document."""
    rows = _Table.model_validate(tomllib.loads(FILE.read_text("utf-8"))).row
    names = [row.name for row in rows]
    assert len(set(names)) == len(names), "a row stands twice"
    return rows
