"""A carrier from a seed: `generate(...)` writes what IC serves, what IMT exports, and the answer sheet."""

from __future__ import annotations

from sandbox.carrier.generate import Carrier, generate

__all__ = ["Carrier", "generate"]
