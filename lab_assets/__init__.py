"""lab_assets: a lakehouse and living model of a quality-control laboratory, as one Dagster asset graph."""
