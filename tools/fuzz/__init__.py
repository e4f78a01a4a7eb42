"""Hostile files by the thousand: whatever the bytes are, a reader accepts them or refuses them in one clear line."""
