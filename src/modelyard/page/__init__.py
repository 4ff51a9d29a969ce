"""What static pages share: templates and styles, charts, and how figures are said."""
