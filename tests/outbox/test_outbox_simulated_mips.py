"""Ambiguous uploads, a record a file (MIPS/APPS): nothing lost, nothing doubled. `make simulate` plays 15,000."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_is_lost_and_nothing_doubled_a_record_a_file(world: Any, tmp_path: Path, seed: int) -> None:
    played = world.played(tmp_path, "mips-apps", seed, world.ambiguous_uploads() // 3)
    assert played["ambiguous"] >= world.ambiguous_uploads() // 3
    assert played["kills"] >= 4
    assert (played["lost"], played["doubled"], played["open_files"]) == (0, 0, 0)
    print(played)
