"""What cron runs: keeping the tables small without the app noticing."""
