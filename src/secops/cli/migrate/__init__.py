"""``secops migrate`` and its sub-commands."""
