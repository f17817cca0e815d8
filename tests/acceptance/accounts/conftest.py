"""Tests about accounts share their fixtures."""

from support.accounts_fixtures import people, people_of_any_key

__all__ = ["people", "people_of_any_key"]
