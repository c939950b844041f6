"""Files of influence scores that other tools read and write, one file a format."""
