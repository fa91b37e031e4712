"""prescaler: every pod Ready when the billing window opens, or somebody was warned in time.

Read `plan/` for the rules, `loop.py` for what happens every ten seconds, `window/` for how one object is judged, `crd.yaml` for
what a user can say.
"""

__version__ = "0.1.0"
