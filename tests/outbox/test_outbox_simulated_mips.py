"""Ambiguous uploads, a record a file (MIPS/APPS): nothing lost, nothing doubled. `make simulate` plays 15,000."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

UPLOADS = int(os.environ.get("ICFLOWS_AMBIGUOUS_UPLOADS", "500"))  # in worlds of 500 at the most
WORLDS = max(2, UPLOADS // 500)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(1, WORLDS + 1))
def test_nothing_is_lost_and_nothing_doubled_a_record_a_file(world: Any, tmp_path: Path, seed: int) -> None:
    played = world.played(tmp_path, "mips-apps", seed, UPLOADS // WORLDS)
    print(seed, played)
    assert played["ambiguous"] >= UPLOADS // WORLDS
    assert played["kills"] >= 4
    assert (played["lost"], played["doubled"], played["open_files"]) == (0, 0, 0)
