"""Commonsense that people wrote, retrieved: ATOMIC and Event2Mind."""
