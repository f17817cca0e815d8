"""``secops rollout`` and its sub-commands, a module each."""
