"""The reference backend: the login services behind HTTP. Needs ``secops[server]``."""
