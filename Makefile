# The two commands of the README: make demo, make test.

PYTHON ?= python3.11
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
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet -c constraints.txt -e '.[all]'
	touch $@

# Installing goes two at a time, and so do the tests that compare neither speed nor a framework's
# bits; the others run one at a time.
BESIDE = core,py310,py313,demo,lint
ALONE = fixed,tflite,ort,torch,tf,all

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
