"""What an outage of a remote costs a whole site: gunicorn, Django, PostgreSQL, and one breaker."""
