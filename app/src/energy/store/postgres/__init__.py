"""The store on PostgreSQL 15+ and CockroachDB: all SQL of the service lives in this package."""
