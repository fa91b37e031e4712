# The pages of docs/ that are tables of what the code has.
.PHONY: reference
reference: $(VENV)/ready ## Write the tables of settings, API, metrics, alerts and BillingWindow fields into docs/
	@PYTHONPATH=tests $(BIN)/python -m docs.reference
