# The pages of docs/ that are tables of what the code has.
.PHONY: reference
reference: $(VENV)/ready ## Write the tables of settings, API, metrics, alerts and BillingWindow fields into docs/
	@$(BIN)/python -m tools.reference

# Drawings are text: one file a drawing, one file of words a language. The digests tell a test without Go that none is stale.
DRAWINGS = $(filter-out style words.%,$(basename $(notdir $(wildcard docs/drawings/*.d2))))
SPACING = --elk-nodeNodeBetweenLayers=36 --elk-edgeNodeBetweenLayers=16 --elk-padding="[top=40,left=16,bottom=40,right=16]"
.PHONY: drawings
drawings: $(VENV)/ready ## Draw docs/drawings/*.d2 and the month into docs/images, in both languages (needs Go)
	@$(BIN)/python -m tools.monthplot
	@$(BIN)/python -m tools.cast docs/images/*.cast
	@cd docs/drawings && for language in en ru; do \
	  for drawing in $(DRAWINGS); do \
	    cat style.d2 words.$$language.d2 $$drawing.d2 | go tool d2 $(SPACING) - ../images/$$drawing.$$language.svg || exit 1; \
	  done; done && sha256sum *.d2 go.sum ../images/*.svg > drawn.sha256
