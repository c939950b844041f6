"""Finding the rest: rows that teach what some rows teach, though nothing named them, and an estimate of how many are still missing."""
