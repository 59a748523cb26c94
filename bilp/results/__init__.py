"""Results: what a storage holds, read without PyTorch."""
