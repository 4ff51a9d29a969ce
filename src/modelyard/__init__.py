"""Modelyard: continuous training, delivery and monitoring of models, from a Git repository alone.

Each step is one verb: one module here, one command ``modelyard <verb>``, one action ``actions/<verb>``.
"""

# Static, since an action's checkout has no ``.git`` to read it from.
__version__ = "0.1.0"
