"""The load lab: drives k6 against the service, judges what came of it from the database, and draws a report.

It exists so that "nothing was lost" is a figure computed from two independent records, the client's ledger of
acknowledgements and the database, and not an impression. It knows the service only from outside: HTTP, /metrics, SQL.
Where no address is given, it starts a service and a database of its own.
"""
