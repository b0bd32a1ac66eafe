# The two commands of the README: make demo, make test.

# The first Python that everything is installed for; pyenv's own, where it keeps some. Another one:
# make demo PYTHON=/path/to/python
CANDIDATES = python3.11 python3.12 python3.13 python3.10 python3 \
	$(wildcard $(PYENV_ROOT)/versions/3.1[0123].*/bin/python)
USABLE = import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for each in $(CANDIDATES); do \
	"$$each" -c '$(USABLE)' 2>/dev/null && { echo "$$each"; break; }; done)
VENV ?= .venv
RUNNER = .tox/.runner
# Other Pythons that pyenv keeps, for the environments py310, py312 and py313.
PYTHONS ?= $(wildcard $(PYENV_ROOT)/versions/3.1[023].*/bin/python)
DISCOVER = $(if $(PYTHONS),--discover $(PYTHONS))

.PHONY: demo test clean

demo: $(VENV)/.installed
	$(VENV)/bin/xbackend run --backends tf,ort,torch,tflite,fixed
	$(VENV)/bin/xbackend compare

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python from 3.10 to 3.13 is found with its venv module. \
	Install one (Debian: apt install python3-venv), or name it: make demo PYTHON=/path/to/python" \
	>&2; exit 1; }
	@echo "Installing TensorFlow, PyTorch and the other frameworks into $(VENV), with $(PYTHON):" \
	"several gigabytes, one to five minutes."
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[all]'
	@touch $@

# Installing goes two at a time, and so do the tests that compare neither speed nor a framework's
# bits; the others run one at a time.
BESIDE = core,py310,py313,demo,lint
ALONE = fixed,tflite,ort,torch,tf,all,report

test: $(RUNNER)/.installed
	rm -rf .tox/results
	$(RUNNER)/bin/tox run-parallel --notest --parallel 2 --parallel-no-spinner $(DISCOVER)
	$(RUNNER)/bin/tox run-parallel --skip-pkg-install --parallel 2 --parallel-no-spinner \
		-e $(BESIDE) $(DISCOVER); beside=$$?; \
	$(RUNNER)/bin/tox run --skip-pkg-install -e $(ALONE) $(DISCOVER); alone=$$?; \
	$(PYTHON) .ci/totals.py .tox/results; exit $$((beside | alone))

$(RUNNER)/.installed: constraints.txt
	$(PYTHON) -m venv $(RUNNER)
	$(RUNNER)/bin/python -m pip install --quiet -c constraints.txt tox
	touch $@

clean:
	rm -rf .tox .venv .xbackend build *.egg-info
