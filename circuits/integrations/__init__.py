"""Integrations with other packages, each imported only where its package is installed."""
