"""Scenes, one file each: rows in which something is planted, and what is asked about it."""
