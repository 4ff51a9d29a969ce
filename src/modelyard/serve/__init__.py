"""What runs inside a service, and nothing that only training needs: this folder is copied into the image.

It imports NumPy, pydantic, BentoML (with Starlette and the Prometheus client) and its own modules; a test counts.
"""
