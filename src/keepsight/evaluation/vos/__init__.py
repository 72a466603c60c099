"""Semi-supervised video object segmentation: J and F over data sets in their own layouts, and the predictions that they judge."""
