"""What is done to batches of images before a network sees them: augmentation, mixing, decoding."""
