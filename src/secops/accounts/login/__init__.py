"""Logging in and staying logged in: what a backend does, and the command line looks after."""
