"""The domain: people's accounts, their locks and sessions, and the record of what operators did."""
