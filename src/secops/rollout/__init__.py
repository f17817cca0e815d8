"""Profiles of environment variables moved in stages, gated, and undone exactly."""
