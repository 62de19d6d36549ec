"""Random columns that are the same everywhere and always: SHAKE-128 of seed and name.

Neither Polars' hash nor a language's generator promises the same numbers in its next version;
a standard hash function does. A column is one call, however long it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]


class Draws:
    """Named random columns of one seed. The same name gives the same column."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def _bytes(self, name: str, size: int) -> pa.Buffer:
        return pa.py_buffer(hashlib.shake_128(f"{self._seed}/{name}".encode()).digest(size))

    def u64(self, name: str, rows: int) -> pl.Series:
        """Uniform 64-bit numbers (UInt64)."""
        array = pa.Array.from_buffers(pa.uint64(), rows, [None, self._bytes(name, 8 * rows)])
        return pl.Series(name, pl.from_arrow(array), dtype=pl.UInt64)

    def below(self, name: str, rows: int, limit: int) -> pl.Series:
        """Uniform whole numbers in [0, limit) (Int64)."""
        return (self.u64(name, rows) % limit).cast(pl.Int64)

    def between(self, name: str, rows: int, low: int, high: int) -> pl.Series:
        """Uniform whole numbers in [low, high] (Int64)."""
        return self.below(name, rows, high - low + 1) + low

    def chance(self, name: str, rows: int, per_mille: int) -> pl.Series:
        """True for about `per_mille` of a thousand rows."""
        return self.below(name, rows, 1_000) < per_mille

    def pick(self, name: str, rows: int, weights: Mapping[str, int] | Sequence[str]) -> pl.Series:
        """Texts by weight; a plain list weighs all alike. An empty text stays empty."""
        pairs = weights.items() if isinstance(weights, Mapping) else ((text, 1) for text in weights)
        table = pl.Series(name, [text for text, weight in pairs for _ in range(weight)], dtype=pl.String)
        return table.gather(self.below(name, rows, table.len()))

    def guids(self, name: str, rows: int) -> pl.Series:
        """GUIDs as text, lower case."""
        array = pa.Array.from_buffers(pa.binary(16), rows, [None, self._bytes(name, 16 * rows)])
        text = pl.Series(name, pl.from_arrow(array.cast(pa.large_binary())), dtype=pl.Binary).bin.encode(
            "hex"
        )
        cuts = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))
        parts = [text.str.slice(start, size).alias(f"{start}") for start, size in cuts]
        return pl.select(pl.concat_str(parts, separator="-")).to_series().alias(name)
