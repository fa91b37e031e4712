"""One BillingWindow: what it declares, what is to be done about it, what is said.

`schema` and `spec` read what was declared, `declared` makes a plan of it, `assess` judges it against what the cluster
holds, `carry_out` writes, `conclude` makes the status of it, `tell` speaks.
"""
