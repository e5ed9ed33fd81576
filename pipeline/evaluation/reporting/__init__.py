"""What an evaluation writes: its figures as JSON, and the same as a page with drawings."""
