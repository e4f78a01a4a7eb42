"""From a .vtw to frames, and to a video."""
