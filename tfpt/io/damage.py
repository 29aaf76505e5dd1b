"""What to do about a damaged file, in one wording for all formats."""

from __future__ import annotations

DOWNLOAD_AGAIN = "the file is damaged or incomplete: download it again, and compare its size and hash"
