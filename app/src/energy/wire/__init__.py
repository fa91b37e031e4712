"""What travels between clients and the service: bodies, answers, problems, tables and cursors. Knows nothing of HTTP or SQL."""
