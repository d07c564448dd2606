"""The pages of the admin: lists, the pages of circuits and incidents, charts, confirmations."""
