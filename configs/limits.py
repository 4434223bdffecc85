"""Bounds that several places must agree on."""

AUGMENTATIONS = ("standard", "crop", "flip", "none")
MIRRORED = ("standard", "flip")  # those that show mirror images
MAX_QUERIES = 18  # a picture as it is and shifted in eight directions, each also mirrored
DEFAULT_IMAGE_SIZE = 32
IMAGE_SIZE_RANGE = (4, 1024)  # pixels a side
