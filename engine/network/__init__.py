"""BlobNet, its inference form, and the devices and dtypes it computes in."""
