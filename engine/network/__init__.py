"""BlobNet, its inference form, and where and how precisely it computes."""
