"""The service: what a request holds follows from schema.py, its limits from modelyard.yaml."""

from modelyard.serve import service

from {{ cookiecutter.package }} import model

Service = service.make(model.load)
