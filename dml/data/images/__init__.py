"""From a catalog to uint8 images: decoding, the cache on disk, serving by position."""
