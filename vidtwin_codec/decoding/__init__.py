"""Decoding of a .vtw file to frames, a video file or a player."""
