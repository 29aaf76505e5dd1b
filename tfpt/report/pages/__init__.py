"""Self-contained HTML pages: one file each, which fits any screen and loads nothing."""
