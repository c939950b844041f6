"""A run: its folder, its resumable steps, and what makes two runs the same."""
