"""Connections and timeouts, locks, pooler detection, the embedded server."""
