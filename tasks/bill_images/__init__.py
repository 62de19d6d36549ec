"""Bill images: named as IC wants them, looked at before they go, archived, and sent by SFTP."""

from __future__ import annotations

from tasks.bill_images.look import examine
from tasks.bill_images.names import parse_names, with_image_names
from tasks.bill_images.orphans import orphans
from tasks.bill_images.send import send_images

__all__ = ["examine", "orphans", "parse_names", "send_images", "with_image_names"]
