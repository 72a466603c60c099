"""Fine-tuning of SAM 3's image detector: boxes, masks, scores and presence, from pictures with named objects."""
