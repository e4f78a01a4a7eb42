"""Better files for more time: what ``--effort`` buys at the encoder, for the same decoder and the same format.

levels       what each effort does
sensitivity  what an error in each latent channel does to the picture
descent      latents moved through the frozen decoder, towards the pixels
refiner      both, on the tiles of a video
symbols      rate–distortion optimised quantisation
"""

from vidtwin_codec.refinement.levels import DEFAULT_EFFORT, LEVELS, MAX_EFFORT, Level

__all__ = ["DEFAULT_EFFORT", "LEVELS", "MAX_EFFORT", "Level"]
