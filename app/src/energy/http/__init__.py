"""The API: bytes in, problem+json or JSON out. Decides nothing about readings; it asks `ingest` and `store`."""
