"""Faults put into real commands, and what must hold afterwards: a share in the tests, all of them by `make faults`."""
