"""Collectors: one file a source; each reads bills or job metadata and yields deliveries."""
