"""The environment variables of the login layer: names, types, canonical forms, bounds, strictness."""
