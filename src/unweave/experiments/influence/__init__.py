"""Validity of influence scores: against exact products, against curvature, against retraining, and against weights that know nothing."""
