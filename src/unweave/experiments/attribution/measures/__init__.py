"""The measures of attribution, one file each."""
