"""What one image step is made of: real side, synthetic side, networks, state."""
