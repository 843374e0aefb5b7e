# Thin on purpose: what a line does is in pip, pytest or `lhcml`. Needs Python >= 3.11, make and git, nothing else.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help course lab test test-all bench lint clean browser

PYTHONS := $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11 python)
VENV := .venv/bin/python
PIP := $(VENV) -m pip --disable-pip-version-check install -c constraints.txt
TEST := OMP_NUM_THREADS=1 LHCML_STRICT=1 $(VENV) -m pytest -n 2
NOTEBOOKS := --dist loadfile --nbval-lax --nbval-current-env --nbval-cell-timeout=300 tutorials/solutions lectures

help: ## list these commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile

course: .venv/.course ## install, train tutorial 01a at the scale of this machine, say how to go on
	@$(VENV) -m lhcml_tutor course

lab: .venv/.course ## open JupyterLab on the course
	@$(VENV) -m jupyterlab

test: .venv/.test browser ## install what tests need and run every gate
	LHCML_SCALE=ci $(TEST) $(NOTEBOOKS) tests

test-all: test ## the same, then every student notebook, and the course at the scale of a laptop (weekly, before a release)
	LHCML_TEST_ALL=1 $(TEST) -m everything tests

bench: .venv/.test ## time the package against its peers
	@for file in benchmarks/*.py; do echo "$$file"; OMP_NUM_THREADS=1 $(VENV) "$$file" || exit 1; done

lint: .venv/.test ## ruff: rules and format
	$(VENV) -m ruff check . && $(VENV) -m ruff format --check .

clean: ## remove the environment and the caches; runs/ and figures/ stay
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build ./*.egg-info

# A stamp is written last and holds the place of the checkout, so that an interrupted install, a moved checkout and a
# changed list of packages are seen, and a finished install needs no network.
ifneq ($(shell $(VENV) -c 'print(open(".venv/.course").read().strip())' 2>/dev/null),$(CURDIR))
.PHONY: .venv/.course .venv/.test
endif

.venv/.course .venv/.test: pyproject.toml constraints.txt
	@rm -f .venv/.course .venv/.test; $(forget-half-installed)
	@$(VENV) -c 'import pip, importlib.metadata as m; m.version("pip")' 2>/dev/null || { $(new-environment); }
	@echo "Installing into .venv; torch comes first and is the largest part."
	$(PIP) torch
	$(PIP) -e '.[$(subst .venv/.,,$@)]'
	@for stamp in .venv/.course $@; do pwd >"$$stamp"; done

# pip writes INSTALLER when the files of a package are in place; a package without it would count as installed for ever
define forget-half-installed
	for info in .venv/lib/python3.*/site-packages/*.dist-info; do [ -e "$$info/INSTALLER" ] || rm -rf "$$info"; done
endef

define new-environment
	for python in $(PYTHONS); do \
	    state=$$("$$python" -c 'import sys, importlib.util as util; print("old" if sys.version_info < (3, 11) else \
	        "good" if util.find_spec("venv") and util.find_spec("ensurepip") else "bare")' 2>/dev/null); \
	    case "$$state" in \
	        good) break;; \
	        old) why="$$why  $$python is older than 3.11\n";; \
	        bare) why="$$why  $$python has no venv: on Debian and Ubuntu, sudo apt install python3-venv\n";; \
	        *) why="$$why  $$python is not here\n";; \
	    esac; \
	done; \
	if [ "$$state" != good ]; then \
	    printf "This needs Python 3.11 or newer, with venv:\n$$why"; \
	    echo "Install one (https://www.python.org/downloads), or name it: make course PYTHON=/path/to/python3"; exit 1; \
	fi; \
	echo "New environment .venv with $$("$$python" --version)"; "$$python" -m venv --clear .venv || exit 1
endef

# The tests that need a browser are skipped where there is none, never in CI. Output of apt is for its errors only.
browser:
	@{ command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null || { \
	    if [ "$$(id -u)" = 0 ]; then root=; else root="sudo -n"; fi; \
	    command -v apt-get >/dev/null && $$root true 2>/dev/null && \
	    echo "Installing chromium, which some tests drive" && $$root apt-get update -qq && \
	    $$root apt-get install -qq -y --no-install-recommends chromium >/dev/null; } || { \
	    echo "No Chromium here and none could be installed (sudo apt install chromium): browser tests are skipped."; \
	    [ "$$CI" != true ]; }
