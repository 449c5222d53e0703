"""Exporters: one file a way of publishing a finished breakdown."""
