"""What is in the database now, bringing it to what secops needs, and running DDL safely."""
