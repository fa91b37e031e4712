"""What the tests of the service share: a real PostgreSQL, the service in a thread or as a process, and clients for both.

Nothing here replaces a part of the product. `fixtures.py` says what to ask for.
"""
