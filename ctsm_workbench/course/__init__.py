"""What lessons need beside the library: checks of exercises, data, and the run that they share."""
