"""An Invoice Cloud stand-in for loopback: SOAP, SFTP, faults, and a carrier with planted breaks.

Shares no code with the client that it tests.
"""

from __future__ import annotations

from sandbox.serving import Sandbox, serve

__all__ = ["Sandbox", "serve"]
