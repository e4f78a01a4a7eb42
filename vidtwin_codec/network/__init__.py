"""The network at work: on a device, on whole frames of any size, cut into tiles or windows."""
