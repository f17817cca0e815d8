"""Simulated people, their logins and their attackers: what ``secops quickstart`` shows secops on."""
