"""What every training shares: its optimizer, its step as a CUDA graph, and random choices that reach a device together."""
