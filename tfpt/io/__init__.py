"""Bytes: locations, byte ranges of local and remote files, zip members, archives, and files that are written whole."""
