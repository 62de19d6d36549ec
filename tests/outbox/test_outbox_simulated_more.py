"""Ambiguous uploads by the thousand, a record a file, other seeds: two modules, so that two workers play at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("seed", [4, 5, 6])
def test_nothing_is_lost_and_nothing_doubled_with_other_seeds(world: Any, tmp_path: Path, seed: int) -> None:
    played = world.played(tmp_path, "mips-apps", seed, world.ambiguous_uploads() // 6)
    assert played["ambiguous"] >= world.ambiguous_uploads() // 6
    assert played["kills"] >= 4
    assert (played["lost"], played["doubled"], played["open_files"]) == (0, 0, 0)
