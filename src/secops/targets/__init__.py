"""Where a service's environment variables live: one module a kind of target."""
