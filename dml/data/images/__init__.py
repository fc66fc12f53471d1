"""From a catalog to uint8 images: decoding, the disk cache, serving by position."""
