"""Running the network on a device, on whole frames of any size that are cut into tiles or windows."""
