"""Ambiguous uploads by the thousand, a record a file (MIPS/APPS): nothing lost, nothing doubled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_is_lost_and_nothing_doubled_a_record_a_file(world: Any, tmp_path: Path, seed: int) -> None:
    played = world.played(tmp_path, "mips-apps", seed, world.ambiguous_uploads() // 6)
    assert played["ambiguous"] >= world.ambiguous_uploads() // 6
    assert played["kills"] >= 4
    assert (played["lost"], played["doubled"], played["open_files"]) == (0, 0, 0)
