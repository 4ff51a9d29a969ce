"""Our service without BentoML around it: what its supervisor and its way of running uvicorn cost. `uvicorn bare:app`."""

import os
from pathlib import Path

from flights import model

from modelyard.serve import service

app = service.application(Path(os.environ["MODEL"]).parent, model.load)
