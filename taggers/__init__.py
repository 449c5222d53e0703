"""Taggers: one file a way of saying what a job was for."""
