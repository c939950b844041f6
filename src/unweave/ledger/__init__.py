"""The deletion ledger: requests to forget, what was done about each, and the proof of it."""
