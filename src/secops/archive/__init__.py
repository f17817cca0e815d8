"""Events that were deleted from the database, kept as Parquet files."""
