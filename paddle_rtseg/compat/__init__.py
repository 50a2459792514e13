"""Patches for PaddleSeg on current Paddle: the list in :mod:`.patches`, the mechanism in :mod:`.patch`."""
