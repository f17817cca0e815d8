"""secops: take the login layer of a live, PostgreSQL-backed web application from weak to strong."""

__version__ = "0.1.0"
