"""Rate control: the quality and the short side that bring a file to a wanted size, rate, ratio or PSNR."""
