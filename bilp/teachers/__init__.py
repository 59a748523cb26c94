"""Teachers as others use them: networks trained on all real samples, read from their artifacts (`bilp.evaluate.teacher` trains them)."""
