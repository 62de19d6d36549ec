"""A carrier from a seed: `generate(...)` writes what IC serves, what IMT exports, and the answer sheet."""

from __future__ import annotations

from sandbox.carrier.carrier import Carrier
from sandbox.carrier.converting import conversion
from sandbox.carrier.generate import generate

__all__ = ["Carrier", "conversion", "generate"]
