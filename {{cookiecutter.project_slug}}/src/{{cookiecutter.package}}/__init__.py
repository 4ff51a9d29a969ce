"""{{ cookiecutter.package }}: the code that this team writes. Everything else is Modelyard's."""
