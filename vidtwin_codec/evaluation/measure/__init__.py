"""``vidtwin measure``: comparing a video with what its .vtw decodes to, or with the network's output alone."""
