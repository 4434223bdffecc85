"""Membership inference attacks: arrays in, scores out. A higher score means "more likely a member"."""
