"""Encoding of a video to a .vtw file, at a quality or to a target."""
