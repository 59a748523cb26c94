"""Teachers as others use them: networks trained on real samples, all or a selection, read from their artifacts
(`bilp.evaluate.teacher` trains them)."""
