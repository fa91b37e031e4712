"""Programs for the people who work on this project; the product doesn't contain them and nothing of it imports them.

| program | who calls it |
|---|---|
| `tools.local` | tests, load lab and benchmark: PostgreSQL and the service on this machine |
| `tools.cluster` | `make cluster-up`, `make install`, `make images`, the tests that need a Kubernetes or its tools |
| `tools.bench` | `make bench`, `make bench-years`, `make bench-compare`, `make budget`; `.ci/run` |
| `tools.render` | `make render`; tests/chart compares what it writes |
| `tools.reference`, `tools.figures`, `tools.quotes` | `make reference`; tests/docs compares what they write |
| `tools.monthplot`, `tools.cast` | `make drawings` and `make load-kill`: pictures that are not drawn in D2 |
| `tools.fuzz` | `make fuzz` |
| `tools.walk` | `make walk`; tests/unit/tools holds the walk of a reading to its length |
| `tools.same_cases` | `make same-cases`, `.ci/run` |
| `tools.keda` | `make compare-keda`; tests/docs compares the pages it writes, tests/cluster starts its KEDA |
| `tools.standin` | tests/cluster/chart, as the image that stands in for CockroachDB |
"""
