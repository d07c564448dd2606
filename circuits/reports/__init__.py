"""What is shown of circuits to people and programs: health, incidents, statistics, history."""
