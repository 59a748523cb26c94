"""The fault drill: a real service, the faults that may hit it, and the proof that nothing is lost."""
