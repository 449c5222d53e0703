"""What collectors of bills share: files, buckets, columns."""
