"""Attacks, their metrics and intervals: arrays in, arrays out; imports nothing else of this repository."""
