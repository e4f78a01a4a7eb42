"""Rate control: finding the quality and the short side for a target of size, bit rate, ratio, PSNR or VMAF."""
