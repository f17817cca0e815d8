"""security_events in partitions, one a month: there and back without copying a row, and months ahead."""
