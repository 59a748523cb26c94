"""ImageNet-1K and parts of its classes, in every layout in which people have it."""
