"""Probes: other questions through which a row's answer may still come out, made from rows by templates and rules."""
