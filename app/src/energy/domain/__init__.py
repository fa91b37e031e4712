"""The rules of meter readings: pure functions and values, the standard library only, no clock and no database."""
