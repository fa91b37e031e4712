# The pages as a site in build/site: both languages, with search, without a network. Its programs stay out of the tests' environment.
SITE := build/site
SITE_TOOLS := build/site-tools

$(SITE_TOOLS)/ready: requirements/site.txt $(VENV)/ready
	@$(PYTHON) -m venv $(SITE_TOOLS) && $(UV) pip install --quiet --python $(SITE_TOOLS)/bin/python --require-hashes -r requirements/site.txt
	@touch $@

.PHONY: site
site: $(SITE_TOOLS)/ready ## The pages as a searchable site in English and Russian: build/site/index.html
	@for language in en ru; do \
	  SITE_LANGUAGE=$$language $(SITE_TOOLS)/bin/sphinx-build -q -W --keep-going -E -d build/site-cache/$$language -c docs/site . $(SITE)/$$language || exit 1; \
	done
	@cp docs/site/start.html $(SITE)/index.html

.PHONY: test-site
test-site: site ## The site: every link leads somewhere, its search finds, nothing comes from elsewhere (a minute)
	@ENERGY_REQUIRE_SITE=1 $(BIN)/pytest -q -rs tests/docs/test_site.py
