"""Temporary folders, which are removed too when a signal ends the process."""

from __future__ import annotations

import tempfile

from tfpt.io import interruption


class TemporaryFolder(tempfile.TemporaryDirectory[str]):
    """A new temporary folder, for a `with` block or until `cleanup`.

    Args:
        prefix: What its name begins with.

    Raises:
        OSError: The system refuses.

    Example:
        >>> from pathlib import Path
        >>> with TemporaryFolder() as folder:
        ...     Path(folder).is_dir()
        True
        >>> Path(folder).exists()
        False
    """

    def __init__(self, prefix: str = "tfpt-") -> None:
        with interruption.uninterrupted():  # between creation and registration
            super().__init__(prefix=prefix, ignore_cleanup_errors=True)
            interruption.begin(self.name)

    def cleanup(self) -> None:
        """Remove the folder."""
        super().cleanup()
        interruption.end(self.name)
