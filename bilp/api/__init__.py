"""What `import bilp` offers: the stages as functions, and results that show themselves. Nothing here computes or stores by itself."""
