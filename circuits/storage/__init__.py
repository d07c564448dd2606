"""Where circuits are kept: in the database, and in this process's memory while that fails."""
