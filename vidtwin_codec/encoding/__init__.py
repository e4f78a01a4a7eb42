"""From a video to a .vtw, at a quality or to a target."""
