"""SAM 3 as it is published: a detector and a tracker on one image encoder."""
