"""Faults, injected into real processes and counted: `python -m tests.faults --report`."""
