"""Text that people read: names and words from outside made fit for it, secrets left out of it."""
