"""What a process of Tidegate stands on, whichever plane it belongs to."""
