"""Plugins for rdspend from a package of their own."""
