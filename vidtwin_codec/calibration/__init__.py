"""From a checkpoint to weights that can be used: converted, with quantisation steps measured."""
