"""The pages of the admin: lists, a circuit's page, charts, and the ways to steer."""
