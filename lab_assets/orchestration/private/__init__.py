"""What relies on Dagster's private API, in one place."""
