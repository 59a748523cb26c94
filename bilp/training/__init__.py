"""Training a network on images: optimizers, labels and augmentation of a mini-batch, its step as a CUDA graph, and the loop over epochs."""
