"""Clips: which frames of a video are taken, and how they are decoded, in processes of their own that may die."""
