"""Keeps circuits in the database, and in this process's memory while the database fails."""
