"""Reports on circuits for people and programs: health, incidents, statistics, history."""
