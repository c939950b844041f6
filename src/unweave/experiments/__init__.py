"""Cases, the study of influence, the comparison of methods, and the demo: they stand outside of the pipeline and call in."""
