# The pages of docs/ that are tables of what the code has.
.PHONY: reference
reference: $(VENV)/ready ## Write the tables of settings, API, metrics, alerts and BillingWindow fields into docs/
	@$(BIN)/python -m tools.reference

# Drawings are text: one file a drawing, one file of words a language. The digests tell a test without Go that none is stale.
DRAWINGS = $(filter-out style words.%,$(basename $(notdir $(wildcard docs/drawings/*.d2))))
.PHONY: drawings
drawings: ## Draw docs/drawings/*.d2 into docs/images, in both languages (needs Go)
	@cd docs/drawings && for language in en ru; do \
	  for drawing in $(DRAWINGS); do \
	    cat style.d2 words.$$language.d2 $$drawing.d2 | go tool d2 - ../images/$$drawing.$$language.svg || exit 1; \
	  done; done && sha256sum *.d2 go.sum ../images/*.svg > drawn.sha256
