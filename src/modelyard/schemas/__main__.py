"""Refresh the committed JSON Schemas."""

from modelyard.schemas import FOLDER, generate

for name, content in generate().items():
    (FOLDER / name).write_text(content, encoding="utf-8")
