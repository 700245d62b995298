"""The course: checks of exercises, and helpers that the lessons share."""
