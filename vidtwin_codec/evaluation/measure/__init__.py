"""``vidtwin measure``: a video against what comes back from its .vtw, or from the network alone."""
