"""Ambiguous uploads of whole hours (Spectrum): 15,000 invoices in files that IC may have or not.

And the same world without its safeguard, which does double.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_nothing_is_lost_and_nothing_doubled_an_hour_a_file(world: Any, tmp_path: Path, seed: int) -> None:
    played = world.played(tmp_path, "spectrum", seed, 5_000)
    assert played["invoices"] >= 5_000
    assert played["records"] > 2_000
    assert (played["lost"], played["doubled"], played["open_files"]) == (0, 0, 0)


@pytest.mark.timeout(300)
def test_the_world_is_cruel_enough_to_double_where_one_stale_look_is_believed(
    world: Any, tmp_path: Path
) -> None:
    """With one look instead of two, stale looks call taken uploads not taken: the model sees it."""
    played = world.played(tmp_path, "mips-apps", 21, 150, looks=1)
    assert played["doubled"] > 0
