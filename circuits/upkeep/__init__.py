"""The tasks that run regularly: pruning the history, and notifications."""
