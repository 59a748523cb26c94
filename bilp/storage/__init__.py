"""Object storage: bytes under URIs, in a local folder or in S3."""
